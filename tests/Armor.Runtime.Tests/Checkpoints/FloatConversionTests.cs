using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Tests.Checkpoints;

public class FloatConversionTests
{
    [Test]
    public void EveryHalfWidens()
    {
        var all = Enumerable.Range(0, 65536).Select(i => (ushort)i).ToArray();
        var result = new float[all.Length];
        FloatConversion.ToFloat32(TensorElementType.Float16, MemoryMarshal.AsBytes<ushort>(all), result);
        var wrong = all.Where(bits => !Same(result[bits], (float)BitConverter.UInt16BitsToHalf(bits))).ToArray();
        Assert.That(wrong, Is.Empty);

        static bool Same(float a, float b) => float.IsNaN(b) ? float.IsNaN(a) : BitConverter.SingleToUInt32Bits(a) == BitConverter.SingleToUInt32Bits(b);
    }

    [Test]
    public void EveryBFloat16WidensAndComesBack()
    {
        var all = Enumerable.Range(0, 65536).Select(i => (ushort)i).ToArray();
        var floats = new float[all.Length];
        FloatConversion.ToFloat32(TensorElementType.BFloat16, MemoryMarshal.AsBytes<ushort>(all), floats);
        Assert.That(floats.Select(BitConverter.SingleToUInt32Bits), Is.EqualTo(all.Select(bits => (uint)bits << 16)));

        var back = new ushort[all.Length];
        FloatConversion.FromFloat32(TensorElementType.BFloat16, floats, MemoryMarshal.AsBytes(back.AsSpan()));
        var wrong = all.Where(bits => back[bits] != (float.IsNaN(floats[bits]) ? bits | 0x40 : bits)).ToArray();
        Assert.That(wrong, Is.Empty);
    }

    [TestCase(1f, 1f)]
    [TestCase(1.00390625f, 1f)] // half way, the even one is below
    [TestCase(1.01171875f, 1.015625f)] // half way, the even one is above
    [TestCase(1.0039064f, 1.0078125f)] // just over half way
    [TestCase(-1.01171875f, -1.015625f)]
    [TestCase(float.MaxValue, float.PositiveInfinity)]
    public void BFloat16RoundsToNearestEven(float value, float expected)
    {
        // Long enough that both the vectors and the tail meet the value.
        var rounded = FloatConversion.Rounded(TensorElementType.BFloat16, Enumerable.Repeat(value, 101).ToArray());
        Assert.That(rounded, Has.All.EqualTo(expected));
    }

    /// <summary>The conversion of the base library, which is a scalar's, on every power of two's surroundings and on random bits.</summary>
    [Test]
    public void HalfIsThatOfTheBaseLibrary()
    {
        var random = new Random(4);
        float[] values =
        [
            .. Enumerable.Range(0, 1 << 20).Select(_ => BitConverter.UInt32BitsToSingle((uint)random.NextInt64(1L << 32))),
            .. Enumerable.Range(0, 1 << 16).SelectMany(half => Enumerable.Range(-2, 5).Select(step =>
                BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits((float)BitConverter.UInt16BitsToHalf((ushort)half)) + (uint)(step * 0x800)))),
        ];
        var found = new ushort[values.Length];
        FloatConversion.FromFloat32(TensorElementType.Float16, values, MemoryMarshal.AsBytes(found.AsSpan()));
        int wrong = Enumerable.Range(0, values.Length).Count(i => found[i] != BitConverter.HalfToUInt16Bits((Half)values[i]));
        Assert.That(wrong, Is.Zero);
    }

    [Test]
    public void HalfRoundsToNearestEven()
        => Assert.That(
            FloatConversion.Rounded(TensorElementType.Float16, [1.00048828125f, 1.00146484375f, 2.98e-8f, 3e-8f]),
            Is.EqualTo([1f, 1.001953125f, 0f, 5.9604645e-8f]));

    [Test]
    public void TheFirstNonFiniteValueIsFoundAnywhere([Range(0, 40)] int index)
    {
        var values = Enumerable.Range(0, 41).Select(i => i * 1e37f).ToArray();
        Assert.That(FloatConversion.IndexOfNonFinite(values[..34]), Is.EqualTo(-1));
        values = [.. Enumerable.Range(0, 41).Select(i => (float)i)];
        values[index] = index % 2 == 0 ? float.NaN : float.PositiveInfinity;
        Assert.That(FloatConversion.IndexOfNonFinite(values), Is.EqualTo(index));
    }

    [Test]
    public void TypesHaveTheirNamesAndSizes()
    {
        foreach (var type in Enum.GetValues<TensorElementType>())
        {
            Assert.That(TensorElementTypes.TryParseSafetensorsName(type.SafetensorsName(), out var parsed), Is.True);
            Assert.That(parsed, Is.EqualTo(type));
            var digits = new string([.. type.SafetensorsName().SkipWhile(char.IsLetter).TakeWhile(char.IsDigit)]);
            Assert.That(type.ByteSize() * 8, Is.EqualTo(type == TensorElementType.Boolean ? 8 : int.Parse(digits)));
        }
    }

    [Test]
    public void Crc32CHasItsCheckValue() => Assert.That(Crc32C.Compute("123456789"u8), Is.EqualTo(0xE3069283));

    [TestCase(0, 0)]
    [TestCase(0, 9)]
    [TestCase(9, 0)]
    [TestCase(1, 1)]
    [TestCase(100, 4096)]
    [TestCase(4097, 262144)]
    public void ChecksumsOfPartsMakeThatOfTheWhole(int first, int second)
    {
        var bytes = new byte[first + second];
        new Random(first).NextBytes(bytes);
        var combined = Crc32C.Combine(Crc32C.Compute(bytes.AsSpan(0, first)), Crc32C.Compute(bytes.AsSpan(first)), Crc32C.ShiftOf(second));
        Assert.That(combined, Is.EqualTo(Crc32C.Compute(bytes)));
    }
}
