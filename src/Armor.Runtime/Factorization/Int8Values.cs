using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>
/// Kept values as whole numbers from −127 to 127, each group of a row with a scale: a value is their product, which float32 holds exactly, since a
/// scale is a bfloat16. Immutable.
/// </summary>
internal sealed class Int8Values
{
    /// <summary>The type that scales are stored in.</summary>
    public const TensorElementType ScaleType = TensorElementType.BFloat16;

    /// <summary>The columns that a group has, less where M does not divide them: those of the kernels' tiles.</summary>
    public const int GroupColumns = 256;

    /// <summary>The columns of a block of a wrapper that share a scale in each of its rows; its diagonal is not rounded, as it stands out.</summary>
    public const int WrapperGroupColumns = 128;

    /// <summary>The largest value.</summary>
    public const sbyte Largest = 127;

    /// <summary>What a scale must be, for messages.</summary>
    public const string ValidScale = "a bfloat16 of at least 0, 127 of which are finite";

    private readonly sbyte[] _values;
    private readonly float[] _scales;

    /// <summary>Wraps values and scales, both taken over without a copy.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="pattern">N:M.</param>
    /// <param name="values">[rows, columns·N/M].</param>
    /// <param name="scales">[rows, groups].</param>
    /// <exception cref="ArgumentException">A length is wrong, a value is −128, or a scale is negative, too large or not a bfloat16.</exception>
    public Int8Values(int rows, int columns, SparsityPattern pattern, sbyte[] values, float[] scales)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(scales);
        RowCount = pattern.KeptOf(columns);
        RowScaleCount = ScalesOf(columns, pattern);
        GroupCount = pattern.KeptOf(ColumnsOf(pattern));
        if (values.Length != (long)rows * RowCount)
        {
            throw new ArgumentException($"A {pattern} core of {rows}×{columns} keeps {(long)rows * RowCount} values, not {values.Length}.", nameof(values));
        }

        if (scales.Length != (long)rows * RowScaleCount)
        {
            throw new ArgumentException($"A {pattern} core of {rows}×{columns} has {(long)rows * RowScaleCount} scales, not {scales.Length}.", nameof(scales));
        }

        if (IndexOfInvalid(values) is >= 0 and var value)
        {
            throw new ArgumentException($"Value {value} is {values[value]}, not from -127 to 127.", nameof(values));
        }

        if (IndexOfInvalid(scales) is >= 0 and var scale)
        {
            throw new ArgumentException(FormattableString.Invariant($"Scale {scale} is {scales[scale]}, not {ValidScale}."), nameof(scales));
        }

        _values = values;
        _scales = scales;
    }

    /// <summary>The kept values of a row.</summary>
    public int RowCount { get; }

    /// <summary>The groups of a row.</summary>
    public int RowScaleCount { get; }

    /// <summary>The kept values of a group; the last one of a row may have fewer.</summary>
    public int GroupCount { get; }

    /// <summary>[rows, RowCount].</summary>
    public ReadOnlyMemory<sbyte> Values => _values;

    /// <summary>[rows, RowScaleCount].</summary>
    public ReadOnlyMemory<float> Scales => _scales;

    /// <summary>The columns of a group: the largest multiple of M up to <see cref="GroupColumns"/>.</summary>
    public static int ColumnsOf(SparsityPattern pattern) => GroupColumns / pattern.Group * pattern.Group;

    /// <summary>The groups of a row.</summary>
    public static int ScalesOf(int columns, SparsityPattern pattern) => (int)(((long)columns + ColumnsOf(pattern) - 1) / ColumnsOf(pattern));

    /// <summary>The groups of a row of a dense matrix.</summary>
    public static int ScalesOf(int columns) => (int)(((long)columns + GroupColumns - 1) / GroupColumns);

    /// <summary>The first value that is not from −127 to 127, or −1.</summary>
    public static int IndexOfInvalid(ReadOnlySpan<sbyte> values) => values.IndexOf(sbyte.MinValue);

    /// <summary>The first scale that is not <see cref="ValidScale"/>, or −1.</summary>
    public static int IndexOfInvalid(ReadOnlySpan<float> scales)
    {
        for (var i = 0; i < scales.Length; i++)
        {
            if (!(scales[i] >= 0) || !float.IsFinite(scales[i] * Largest) || (BitConverter.SingleToUInt32Bits(scales[i]) & 0xFFFF) != 0)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>One row's values, [RowCount].</summary>
    public ReadOnlySpan<sbyte> Row(int row) => _values.AsSpan(row * RowCount, RowCount);

    /// <summary>One row's scales, [RowScaleCount].</summary>
    public ReadOnlySpan<float> RowScales(int row) => _scales.AsSpan(row * RowScaleCount, RowScaleCount);

    /// <summary>Writes one row's values times their scales, [RowCount].</summary>
    public void CopyRowTo(int row, Span<float> destination)
    {
        var values = Row(row);
        var scales = RowScales(row);
        for (var group = 0; group < scales.Length; group++)
        {
            var scale = scales[group];
            var last = Math.Min(values.Length, (group + 1) * GroupCount);
            for (var i = group * GroupCount; i < last; i++)
            {
                destination[i] = values[i] * scale;
            }
        }
    }

    /// <summary>All values times their scales, [rows, RowCount].</summary>
    public float[] ToFloat32()
    {
        var result = new float[_values.Length];
        for (var row = 0; row * RowCount < result.Length; row++)
        {
            CopyRowTo(row, result.AsSpan(row * RowCount, RowCount));
        }

        return result;
    }
}
