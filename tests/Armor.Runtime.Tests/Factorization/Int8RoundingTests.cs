using Armor.KernelConformance;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Factorization;

/// <summary>The vectors against the same rule written out, one value after the other.</summary>
internal class Int8RoundingTests
{
    /// <summary>Lengths beside those of vectors, magnitudes from the smallest to the largest that there are.</summary>
    [Test]
    public void TheBestOfTheScalesThatAreTriedIsTaken()
        => Gen.Select(Gen.Int[1, 70], Gen.Int[-149, 120], Gen.Int).Sample(
            (count, exponent, seed) =>
            {
                var random = new Random(seed);
                float[] values = [.. Generators.Values(random, count).Select(value => (float)(value * Math.Pow(2, exponent)))];
                var whole = new sbyte[count];
                var scales = new float[1];
                Int8Rounding.RoundRow(values, count, whole, scales);

                var candidates = Scales(values);
                var least = candidates.Min(scale => Error(values, scale));
                if (scales[0] == 0)
                {
                    Assert.That(whole, Has.All.Zero);
                    Assert.That(candidates.Where(scale => Error(values, scale) == least).Any(scale => values.All(value => Nearest(value, scale) == 0)));
                    return;
                }

                Assert.That(candidates, Does.Contain(scales[0]));
                Assert.That(Error(values, scales[0]), Is.LessThanOrEqualTo(least * (1 + 1e-12)));
                Assert.That(whole.Select(value => (float)value), Is.EqualTo(values.Select(value => Nearest(value, scales[0]))));
            },
            iter: 300);

    [Test]
    public void EachGroupHasItsOwnScale()
    {
        var values = Generators.Values(new Random(3), 23);
        var whole = new sbyte[23];
        var scales = new float[3];
        Int8Rounding.RoundRow(values, 10, whole, scales);
        for (var group = 0; group < 3; group++)
        {
            var own = values[(group * 10)..Math.Min(23, (group + 1) * 10)];
            var alone = new sbyte[own.Length];
            var scale = new float[1];
            Int8Rounding.RoundRow(own, own.Length, alone, scale);
            Assert.That(scales[group], Is.EqualTo(scale[0]));
            Assert.That(whole[(group * 10)..((group * 10) + own.Length)], Is.EqualTo(alone));
        }
    }

    /// <summary>From the bfloat16 below largest / 127 the next eight, as far as 127 of them are finite.</summary>
    private static float[] Scales(float[] values)
    {
        var lowest = BitConverter.SingleToUInt32Bits(values.Max(Math.Abs) / 127) >> 16;
        return [.. Enumerable.Range(0, 9)
            .Select(step => lowest + (uint)step)
            .Where(bits => bits > 0)
            .Select(bits => BitConverter.UInt32BitsToSingle(bits << 16))
            .Where(scale => float.IsFinite(scale * 127))];
    }

    private static float Nearest(float value, float scale) => Math.Clamp(MathF.Round(value / scale), -127, 127);

    private static double Error(float[] values, float scale)
    {
        double sum = 0;
        foreach (var value in values)
        {
            double left = value - (Nearest(value, scale) * scale);
            sum += left * left;
        }

        return sum;
    }
}
