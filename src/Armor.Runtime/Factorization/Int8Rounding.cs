using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>
/// Rounds values to 8 bits with a scale per group, the scale chosen by the squared error that it leaves. The same on every processor: each vector lane
/// does what a scalar would, and sums run in one order.
/// </summary>
internal static class Int8Rounding
{
    // How many bfloat16 numbers above largest / 127 are tried; two neighbours differ by 0.4 to 0.8 %. The best of them leaves about a tenth less error
    // than the first, and scales in float32 would leave hardly less.
    private const int Reach = 8;
    private const int AtOnce = 3;

    private static int Lanes => Vector256<float>.Count;

    /// <summary>Rounds a core's values.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="pattern">N:M.</param>
    /// <param name="values">[rows, columns·N/M], finite.</param>
    /// <exception cref="ArgumentException">A value is not finite.</exception>
    public static Int8Values Round(int rows, int columns, SparsityPattern pattern, float[] values)
    {
        if (FloatConversion.IndexOfNonFinite(values) is >= 0 and var index)
        {
            throw new ArgumentException(FormattableString.Invariant($"Value {index} is {values[index]}: only finite values have 8 bits."), nameof(values));
        }

        var perRow = pattern.KeptOf(columns);
        var perGroup = pattern.KeptOf(Int8Values.ColumnsOf(pattern));
        var rowScales = Int8Values.ScalesOf(columns, pattern);
        var whole = new sbyte[values.Length];
        var scales = new float[(long)rows * rowScales];
        Parallel.For(0, rows, row => RoundRow(
            values.AsSpan(row * perRow, perRow), perGroup, whole.AsSpan(row * perRow, perRow), scales.AsSpan(row * rowScales, rowScales)));
        return new Int8Values(rows, columns, pattern, whole, scales);
    }

    /// <summary>Rounds a row, a group after the other.</summary>
    /// <param name="values">Finite.</param>
    /// <param name="perGroup">Values of a group; the last one may have fewer.</param>
    /// <param name="whole">As many as values: from −127 to 127.</param>
    /// <param name="scales">One for each group: a bfloat16, zero where every value of the group is rounded to zero.</param>
    public static void RoundRow(ReadOnlySpan<float> values, int perGroup, Span<sbyte> whole, Span<float> scales)
    {
        for (var group = 0; group < scales.Length; group++)
        {
            var first = group * perGroup;
            var count = Math.Min(perGroup, values.Length - first);
            scales[group] = RoundGroup(values.Slice(first, count), whole.Slice(first, count));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float RoundGroup(ReadOnlySpan<float> values, Span<sbyte> whole)
    {
        var largest = LargestMagnitude(values);

        // A bfloat16 is the upper half of a float32, and the next one is one more.
        var lowest = (int)(BitConverter.SingleToUInt32Bits(largest / Int8Values.Largest) >> 16);
        var best = 0f;
        var least = double.PositiveInfinity;
        for (var bits = Math.Max(1, lowest); bits <= lowest + Reach; bits += AtOnce)
        {
            var (first, second, third) = SquaredErrors(values, ScaleOf(bits), ScaleOf(bits + 1), ScaleOf(bits + 2));
            Keep(bits, first);
            Keep(bits + 1, second);
            Keep(bits + 2, third);
        }

        return Round(values, best, whole) ? best : 0;

        void Keep(int bits, double error)
        {
            if (error < least && bits <= lowest + Reach && float.IsFinite(ScaleOf(bits) * Int8Values.Largest))
            {
                (best, least) = (ScaleOf(bits), error);
            }
        }
    }

    private static float ScaleOf(int bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float LargestMagnitude(ReadOnlySpan<float> values)
    {
        var largest = Vector256<float>.Zero;
        var i = 0;
        for (; i <= values.Length - Lanes; i += Lanes)
        {
            largest = Vector256.MaxNative(largest, Vector256.Abs(Vector256.Create(values[i..])));
        }

        largest = Vector256.MaxNative(largest, Vector256.Abs(Rest(values[i..])));
        var halves = Vector128.MaxNative(largest.GetLower(), largest.GetUpper());
        return Math.Max(Math.Max(halves[0], halves[1]), Math.Max(halves[2], halves[3]));
    }

    /// <summary>What three scales leave; together, as one alone would wait for each of its sums.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static (double First, double Second, double Third) SquaredErrors(ReadOnlySpan<float> values, float first, float second, float third)
    {
        var (a, b) = (Vector256<double>.Zero, Vector256<double>.Zero);
        var (c, d) = (Vector256<double>.Zero, Vector256<double>.Zero);
        var (e, f) = (Vector256<double>.Zero, Vector256<double>.Zero);
        var i = 0;
        for (; i <= values.Length - Lanes; i += Lanes)
        {
            var some = Vector256.Create(values[i..]);
            (a, b) = Added(some, first, a, b);
            (c, d) = Added(some, second, c, d);
            (e, f) = Added(some, third, e, f);
        }

        if (i < values.Length)
        {
            // Zeros, which the rest is filled up with, are exact.
            var rest = Rest(values[i..]);
            (a, b) = Added(rest, first, a, b);
            (c, d) = Added(rest, second, c, d);
            (e, f) = Added(rest, third, e, f);
        }

        return (Sum(a + b), Sum(c + d), Sum(e + f));
    }

    private static double Sum(Vector256<double> sum) => (sum[0] + sum[1]) + (sum[2] + sum[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<double> Low, Vector256<double> High) Added(
        Vector256<float> values, float scale, Vector256<double> low, Vector256<double> high)
    {
        var (first, second) = Vector256.Widen(values - (Nearest(values, scale) * scale));
        return (low + (first * first), high + (second * second));
    }

    /// <summary>Whether one of them is not zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool Round(ReadOnlySpan<float> values, float scale, Span<sbyte> whole)
    {
        if (scale == 0)
        {
            whole.Clear();
            return false;
        }

        Span<int> numbers = stackalloc int[Lanes];
        var any = Vector256<int>.Zero;
        for (var i = 0; i < values.Length; i += Lanes)
        {
            var count = Math.Min(Lanes, values.Length - i);
            var rounded = Vector256.ConvertToInt32(Nearest(count == Lanes ? Vector256.Create(values[i..]) : Rest(values[i..]), scale));
            any |= rounded;
            if (count == Lanes)
            {
                Narrow(rounded).CopyTo(whole[i..]);
                continue;
            }

            rounded.CopyTo(numbers);
            for (var lane = 0; lane < count; lane++)
            {
                whole[i + lane] = (sbyte)numbers[lane];
            }
        }

        return any != Vector256<int>.Zero;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector64<sbyte> Narrow(Vector256<int> numbers)
    {
        var halves = Vector128.Narrow(numbers.GetLower(), numbers.GetUpper());
        return Vector128.Narrow(halves, halves).GetLower();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Nearest(Vector256<float> values, float scale)
    {
        var nearest = Vector256.Round(values / scale);

        // Finite values need no rule for NaN, which costs several instructions each.
        return Vector256.MinNative(Vector256.MaxNative(nearest, Vector256.Create(-(float)Int8Values.Largest)), Vector256.Create((float)Int8Values.Largest));
    }

    /// <summary>Fewer values than a vector has lanes, then zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Rest(ReadOnlySpan<float> values)
    {
        Span<float> lanes = stackalloc float[Vector256<float>.Count];
        lanes.Clear();
        values.CopyTo(lanes);
        return Vector256.Create<float>(lanes);
    }
}
