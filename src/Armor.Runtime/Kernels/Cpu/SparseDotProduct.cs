using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// The dot product of a 2:4 row with a dense one. A byte of the mask picks four of eight inputs by one shuffle (AVX2) or by one for each
/// group (128-bit vectors).
/// </summary>
internal static class SparseDotProduct
{
    private static readonly Vector256<int>[] Indices256 = MakeIndices256();
    private static readonly Vector128<int>[] LowIndices128 = MakeIndices128(0);
    private static readonly Vector128<int>[] HighIndices128 = MakeIndices128(2);

    /// <param name="values">[columns / 2], in column order.</param>
    /// <param name="mask">[ceil(columns / 8)], valid 2:4.</param>
    /// <param name="input">[columns].</param>
    public static float Compute(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
        => Vector256.IsHardwareAccelerated ? Compute256(values, mask, input)
            : Vector128.IsHardwareAccelerated ? Compute128(values, mask, input)
            : ComputeScalar(values, mask, input, 0);

    internal static float Compute256(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = CheckedBytes(values, mask, input);
        ref var v = ref MemoryMarshal.GetReference(values);
        ref var x = ref MemoryMarshal.GetReference(input);
        ref var indices = ref MemoryMarshal.GetArrayDataReference(Indices256);
        Vector128<float> sum0 = default, sum1 = default;
        var i = 0;
        for (; i <= bytes - 2; i += 2)
        {
            sum0 = Vector128.MultiplyAddEstimate(Vector128.LoadUnsafe(ref v, (nuint)(4 * i)), Pick(ref x, ref indices, mask[i], i), sum0);
            sum1 = Vector128.MultiplyAddEstimate(Vector128.LoadUnsafe(ref v, (nuint)(4 * (i + 1))), Pick(ref x, ref indices, mask[i + 1], i + 1), sum1);
        }

        if (i < bytes)
        {
            sum0 = Vector128.MultiplyAddEstimate(Vector128.LoadUnsafe(ref v, (nuint)(4 * i)), Pick(ref x, ref indices, mask[i], i), sum0);
        }

        return Vector128.Sum(sum0 + sum1) + ComputeScalar(values, mask, input, 2 * bytes);

        static Vector128<float> Pick(ref float x, ref Vector256<int> indices, byte pattern, int index)
            => Vector256.ShuffleNative(Vector256.LoadUnsafe(ref x, (nuint)(8 * index)), Unsafe.Add(ref indices, pattern)).GetLower();
    }

    internal static float Compute128(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = CheckedBytes(values, mask, input);
        ref var v = ref MemoryMarshal.GetReference(values);
        ref var x = ref MemoryMarshal.GetReference(input);
        Vector128<float> sum = default;
        for (var i = 0; i < bytes; i++)
        {
            // An index out of range gives zero: the two halves fill each other's gaps.
            var low = Vector128.Shuffle(Vector128.LoadUnsafe(ref x, (nuint)(8 * i)), LowIndices128[mask[i] & 0xF]);
            var high = Vector128.Shuffle(Vector128.LoadUnsafe(ref x, (nuint)((8 * i) + 4)), HighIndices128[mask[i] >> 4]);
            sum = Vector128.MultiplyAddEstimate(Vector128.LoadUnsafe(ref v, (nuint)(4 * i)), low | high, sum);
        }

        return Vector128.Sum(sum) + ComputeScalar(values, mask, input, 2 * bytes);
    }

    /// <summary>The sum from a group of four on.</summary>
    internal static float ComputeScalar(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input, int firstGroup)
    {
        float sum = 0;
        for (var group = firstGroup; group < input.Length / 4; group++)
        {
            var pattern = MaskPatterns.Of(mask, group);
            sum += values[2 * group] * input[(4 * group) + MaskPatterns.First(pattern)];
            sum += values[(2 * group) + 1] * input[(4 * group) + MaskPatterns.Second(pattern)];
        }

        return sum;
    }

    /// <summary>The whole bytes of the mask, once it is sure that reading by reference stays inside.</summary>
    private static int CheckedBytes(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = input.Length / 8;
        ArgumentOutOfRangeException.ThrowIfLessThan(mask.Length, bytes, nameof(mask));
        ArgumentOutOfRangeException.ThrowIfLessThan(values.Length, 4 * bytes, nameof(values));
        return bytes;
    }

    /// <summary>For each valid byte of a mask the columns of its four kept values.</summary>
    private static Vector256<int>[] MakeIndices256()
    {
        var table = new Vector256<int>[256];
        for (var pattern = 0; pattern < table.Length; pattern++)
        {
            var (low, high) = (pattern & 0xF, pattern >> 4);
            if (MaskPatterns.IsValid(low) && MaskPatterns.IsValid(high))
            {
                table[pattern] = Vector256.Create(
                    MaskPatterns.First(low), MaskPatterns.Second(low), 4 + MaskPatterns.First(high), 4 + MaskPatterns.Second(high), 0, 0, 0, 0);
            }
        }

        return table;
    }

    /// <summary>For each valid pattern of four the two kept columns, in lanes 0 and 1 or 2 and 3.</summary>
    private static Vector128<int>[] MakeIndices128(int lane)
    {
        var table = new Vector128<int>[16];
        for (var pattern = 0; pattern < table.Length; pattern++)
        {
            table[pattern] = Vector128.Create(-1);
            if (MaskPatterns.IsValid(pattern))
            {
                table[pattern] = table[pattern]
                    .WithElement(lane, MaskPatterns.First(pattern))
                    .WithElement(lane + 1, MaskPatterns.Second(pattern));
            }
        }

        return table;
    }
}
