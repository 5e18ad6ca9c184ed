using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// The dot product of a sparse row with a dense one. A byte of the mask picks the kept of eight inputs by one shuffle (AVX2). Where every byte keeps
/// four (2:4, 4:8) the values come in even steps; 2:4 also has a form for 128-bit vectors.
/// </summary>
internal static class SparseDotProduct
{
    private static readonly Vector256<int>[] Indices256 = MakeIndices256();
    private static readonly Vector256<float>[] FirstLanes = MakeFirstLanes();
    private static readonly Vector128<int>[] LowIndices128 = MakeIndices128(0);
    private static readonly Vector128<int>[] HighIndices128 = MakeIndices128(2);

    /// <param name="pattern">The row's pattern.</param>
    /// <param name="values">[columns·N/M], in column order.</param>
    /// <param name="mask">[ceil(columns / 8)], valid for the pattern.</param>
    /// <param name="input">[columns].</param>
    public static float Compute(SparsityPattern pattern, ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        if (Vector256.IsHardwareAccelerated)
        {
            return 8 % pattern.Group == 0 && 8 / pattern.Group * pattern.Kept == 4 ? ComputeFours256(values, mask, input) : ComputeAny256(values, mask, input);
        }

        return Vector128.IsHardwareAccelerated && pattern == SparsityPattern.TwoFour
            ? ComputeTwoFour128(values, mask, input)
            : ComputeScalar(values, mask, input, 0, 0);
    }

    /// <summary>Rows with four kept in each whole byte of the mask.</summary>
    internal static float ComputeFours256(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = CheckedFours(values, mask, input);
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

        return Vector128.Sum(sum0 + sum1) + ComputeScalar(values, mask, input, bytes, 4 * bytes);

        static Vector128<float> Pick(ref float x, ref Vector256<int> indices, byte pattern, int index)
            => Vector256.ShuffleNative(Vector256.LoadUnsafe(ref x, (nuint)(8 * index)), Unsafe.Add(ref indices, pattern)).GetLower();
    }

    /// <summary>Rows with any number kept in each byte of the mask.</summary>
    internal static float ComputeAny256(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        Vector256<float> sum = default;
        var next = 0;
        var i = 0;

        // Eight values are read whatever is kept of them; near the end of the row there are not so many.
        for (; i < input.Length / 8 && next <= values.Length - 8; i++)
        {
            var kept = int.PopCount(mask[i]);
            var picked = Vector256.ShuffleNative(Vector256.Create(input.Slice(8 * i, 8)), Indices256[mask[i]]) & FirstLanes[kept];
            var own = Vector256.Create(values.Slice(next, 8)) & FirstLanes[kept];
            sum = Vector256.MultiplyAddEstimate(own, picked, sum);
            next += kept;
        }

        return Vector256.Sum(sum) + ComputeScalar(values, mask, input, i, next);
    }

    /// <summary>2:4 rows.</summary>
    internal static float ComputeTwoFour128(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = CheckedFours(values, mask, input);
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

        return Vector128.Sum(sum) + ComputeScalar(values, mask, input, bytes, 4 * bytes);
    }

    /// <summary>The sum from a byte of the mask on.</summary>
    /// <param name="values">All values of the row.</param>
    /// <param name="mask">The whole mask of the row.</param>
    /// <param name="input">[columns].</param>
    /// <param name="firstByte">The byte.</param>
    /// <param name="firstValue">How many values the bytes before it keep.</param>
    internal static float ComputeScalar(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input, int firstByte, int firstValue)
    {
        float sum = 0;
        var columns = MaskBits.In(mask[firstByte..]);
        foreach (var value in values[firstValue..])
        {
            sum += value * input[(8 * firstByte) + columns.Next()];
        }

        return sum;
    }

    /// <summary>The whole bytes of the mask, once it is sure that reading by reference stays inside.</summary>
    private static int CheckedFours(ReadOnlySpan<float> values, ReadOnlySpan<byte> mask, ReadOnlySpan<float> input)
    {
        var bytes = input.Length / 8;
        ArgumentOutOfRangeException.ThrowIfLessThan(mask.Length, bytes, nameof(mask));
        ArgumentOutOfRangeException.ThrowIfLessThan(values.Length, 4 * bytes, nameof(values));
        return bytes;
    }

    /// <summary>For each byte of a mask the columns of its kept values, one after another, then zeros.</summary>
    private static Vector256<int>[] MakeIndices256()
    {
        var table = new Vector256<int>[256];
        var columns = new int[8];
        for (var bits = 0; bits < table.Length; bits++)
        {
            Array.Clear(columns);
            for (var (left, i) = (bits, 0); left != 0; left &= left - 1)
            {
                columns[i++] = int.TrailingZeroCount(left);
            }

            table[bits] = Vector256.Create(columns);
        }

        return table;
    }

    /// <summary>All bits set in the first n lanes, for n from 0 to 8.</summary>
    private static Vector256<float>[] MakeFirstLanes()
        => [.. Enumerable.Range(0, 9).Select(n => Vector256.LessThan(Vector256<int>.Indices, Vector256.Create(n)).AsSingle())];

    /// <summary>For each valid 2:4 pattern of four columns the two kept ones, in lanes 0 and 1 or 2 and 3.</summary>
    private static Vector128<int>[] MakeIndices128(int lane)
    {
        var table = new Vector128<int>[16];
        for (var bits = 0; bits < table.Length; bits++)
        {
            table[bits] = Vector128.Create(-1);
            if (int.PopCount(bits) == 2)
            {
                table[bits] = table[bits]
                    .WithElement(lane, int.TrailingZeroCount(bits))
                    .WithElement(lane + 1, int.Log2(bits));
            }
        }

        return table;
    }
}
