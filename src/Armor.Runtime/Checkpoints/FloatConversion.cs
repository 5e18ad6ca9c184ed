using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Checkpoints;

/// <summary>Conversions between float32 and the stored types, little-endian. To the narrower types: round to nearest, ties to even.</summary>
internal static class FloatConversion
{
    /// <summary>Converts stored bytes of a type that <see cref="TensorElementTypes.ConvertsToFloat32"/>.</summary>
    public static void ToFloat32(TensorElementType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        switch (type)
        {
            case TensorElementType.Float32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case TensorElementType.BFloat16:
                BFloat16ToFloat32(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            case TensorElementType.Float16:
                Float16ToFloat32(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            case TensorElementType.Float64:
                var doubles = MemoryMarshal.Cast<byte, double>(source);
                for (var i = 0; i < doubles.Length; i++)
                {
                    destination[i] = (float)doubles[i];
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Does not convert to float32.");
        }
    }

    /// <summary>Converts to stored bytes of a type that <see cref="TensorElementTypes.ConvertsToFloat32"/>.</summary>
    public static void FromFloat32(TensorElementType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        switch (type)
        {
            case TensorElementType.Float32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                break;
            case TensorElementType.BFloat16:
                Float32ToBFloat16(source, MemoryMarshal.Cast<byte, ushort>(destination));
                break;
            case TensorElementType.Float16:
                Float32ToFloat16(source, MemoryMarshal.Cast<byte, ushort>(destination));
                break;
            case TensorElementType.Float64:
                var doubles = MemoryMarshal.Cast<byte, double>(destination);
                for (var i = 0; i < source.Length; i++)
                {
                    doubles[i] = source[i];
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Does not convert from float32.");
        }
    }

    /// <summary>What the values become when stored as <paramref name="type"/> and read back.</summary>
    public static float[] Rounded(TensorElementType type, ReadOnlySpan<float> source)
    {
        var bytes = new byte[Math.Min(source.Length, 4096) * type.ByteSize()];
        var result = new float[source.Length];
        for (var start = 0; start < source.Length; start += 4096)
        {
            var count = Math.Min(4096, source.Length - start);
            var piece = bytes.AsSpan(0, count * type.ByteSize());
            FromFloat32(type, source.Slice(start, count), piece);
            ToFloat32(type, piece, result.AsSpan(start, count));
        }

        return result;
    }

    /// <summary>The index of the first value that is NaN or infinite, or −1.</summary>
    public static int IndexOfNonFinite(ReadOnlySpan<float> values)
    {
        var i = 0;
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        for (var v = 0; v < vectors.Length; v++, i += Vector<float>.Count)
        {
            // x - x is zero for a finite x and NaN otherwise.
            if (!Vector.EqualsAll(vectors[v] - vectors[v], Vector<float>.Zero))
            {
                break;
            }
        }

        for (; i < values.Length; i++)
        {
            if (!float.IsFinite(values[i]))
            {
                return i;
            }
        }

        return -1;
    }

    private static void BFloat16ToFloat32(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        var i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out var low, out var high);
            Vector.AsVectorSingle(Vector.ShiftLeft(low, 16)).CopyTo(destination[i..]);
            Vector.AsVectorSingle(Vector.ShiftLeft(high, 16)).CopyTo(destination[(i + Vector<uint>.Count)..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }

    private static void Float16ToFloat32(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        var i = 0;
        if (Avx512F.IsSupported)
        {
            ref var halves = ref MemoryMarshal.GetReference(source);
            ref var singles = ref MemoryMarshal.GetReference(destination[..source.Length]);
            for (; i <= source.Length - Vector512<uint>.Count; i += Vector512<uint>.Count)
            {
                Expand512(Avx512F.ConvertToVector512UInt32(Vector256.LoadUnsafe(ref halves, (nuint)i))).StoreUnsafe(ref singles, (nuint)i);
            }
        }

        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out var low, out var high);
            Expand(low).CopyTo(destination[i..]);
            Expand(high).CopyTo(destination[(i + Vector<uint>.Count)..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = (float)BitConverter.UInt16BitsToHalf(source[i]);
        }

        // Exponent and mantissa moved to float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too.
        static Vector<float> Expand(Vector<uint> half)
        {
            var magnitude = Vector.ShiftLeft(half & new Vector<uint>(0x7FFF), 13);
            var sign = Vector.ShiftLeft(half & new Vector<uint>(0x8000), 16);
            var scaled = Vector.AsVectorUInt32(Vector.AsVectorSingle(magnitude) * new Vector<float>(5.192296858534828e33f));
            var special = Vector.GreaterThanOrEqual(magnitude, new Vector<uint>(0x7C00u << 13));
            return Vector.AsVectorSingle(sign | Vector.ConditionalSelect(special, magnitude | new Vector<uint>(0x7F800000), scaled));
        }

        static Vector512<float> Expand512(Vector512<uint> half)
        {
            var magnitude = Vector512.ShiftLeft(half & Vector512.Create(0x7FFFu), 13);
            var sign = Vector512.ShiftLeft(half & Vector512.Create(0x8000u), 16);
            var scaled = (magnitude.AsSingle() * Vector512.Create(5.192296858534828e33f)).AsUInt32();
            var special = Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(0x7C00u << 13));
            return (sign | Vector512.ConditionalSelect(special, magnitude | Vector512.Create(0x7F800000u), scaled)).AsSingle();
        }
    }

    private static void Float32ToFloat16(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        var i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            var low = Round(Vector.AsVectorUInt32(new Vector<float>(source[i..])));
            var high = Round(Vector.AsVectorUInt32(new Vector<float>(source[(i + Vector<float>.Count)..])));
            Vector.Narrow(low, high).CopyTo(destination[i..]);
        }

        for (; i < source.Length; i++)
        {
            destination[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
        }

        static Vector<uint> Round(Vector<uint> bits)
        {
            var magnitude = bits & new Vector<uint>(0x7FFFFFFF);

            // The exponent counts from another zero; half of a last place is added, less a bit where the last place is even.
            var odd = Vector.ShiftRightLogical(magnitude, 13) & Vector<uint>.One;
            var normal = Vector.ShiftRightLogical(magnitude - new Vector<uint>(112u << 23) + new Vector<uint>(0xFFF) + odd, 13);

            // A number below 2^-14 is rounded by the addition to 1/2, whose last place is float16's smallest number.
            var half = new Vector<uint>(126u << 23);
            var small = Vector.AsVectorUInt32(Vector.AsVectorSingle(magnitude) + Vector.AsVectorSingle(half)) - half;
            var result = Vector.ConditionalSelect(Vector.LessThan(magnitude, new Vector<uint>(113u << 23)), small, normal);
            result = Vector.ConditionalSelect(Vector.GreaterThanOrEqual(magnitude, new Vector<uint>(143u << 23)), new Vector<uint>(0x7C00), result);
            var isNan = Vector.GreaterThan(magnitude, new Vector<uint>(0x7F800000));
            var nan = new Vector<uint>(0x7E00) | (Vector.ShiftRightLogical(magnitude, 13) & new Vector<uint>(0x3FF));
            return Vector.ConditionalSelect(isNan, nan, result) | Vector.ShiftRightLogical(bits & new Vector<uint>(0x80000000), 16);
        }
    }

    private static void Float32ToBFloat16(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        var i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            var low = Round(Vector.AsVectorUInt32(new Vector<float>(source[i..])));
            var high = Round(Vector.AsVectorUInt32(new Vector<float>(source[(i + Vector<float>.Count)..])));
            Vector.Narrow(low, high).CopyTo(destination[i..]);
        }

        for (; i < source.Length; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(source[i]);
            var isNan = (bits & 0x7FFFFFFF) > 0x7F800000;
            destination[i] = (ushort)((isNan ? bits | 0x00400000 : bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
        }

        // A NaN is made quiet: rounding could carry it into infinity.
        static Vector<uint> Round(Vector<uint> bits)
        {
            var isNan = Vector.GreaterThan(bits & new Vector<uint>(0x7FFFFFFF), new Vector<uint>(0x7F800000));
            var odd = Vector.ShiftRightLogical(bits, 16) & Vector<uint>.One;
            var rounded = Vector.ConditionalSelect(isNan, bits | new Vector<uint>(0x00400000), bits + new Vector<uint>(0x7FFF) + odd);
            return Vector.ShiftRightLogical(rounded, 16);
        }
    }
}
