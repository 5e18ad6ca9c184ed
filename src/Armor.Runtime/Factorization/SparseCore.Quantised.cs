using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>The quantised form, and rounding to what is stored.</summary>
public sealed partial class SparseCore
{
    private readonly Int8Values? _int8;

    private SparseCore(int rows, int columns, Int8Values values, byte[] mask, SparsityPattern pattern)
        : this(rows, columns, mask, pattern) => _int8 = values;

    /// <summary>Whether the values are held as whole numbers of 8 bits with a scale per group.</summary>
    public bool IsQuantised => _int8 is not null;

    /// <summary>[rows, columns·N/M], the kept values of a quantised core in units of their scales, from −127 to 127; empty of another core.</summary>
    public ReadOnlyMemory<sbyte> QuantisedValues => _int8?.Values ?? default;

    /// <summary>[rows, <see cref="RowScaleCount"/>], the scales of a quantised core; empty of another core.</summary>
    public ReadOnlyMemory<float> Scales => _int8?.Scales ?? default;

    /// <summary>
    /// The scales of one row of a quantised core, one for each <see cref="ValuesPerScale"/> consecutive kept values, the last for those that are left:
    /// ceil(columns / 256) where M divides 256, as that of 2:4 does.
    /// </summary>
    public int RowScaleCount => Int8Values.ScalesOf(Columns, Pattern);

    /// <summary>
    /// The kept values of a row that share a scale in a quantised core: those of the largest multiple of M columns up to 256, which are 128 for 2:4.
    /// </summary>
    public int ValuesPerScale => Pattern.KeptOf(Int8Values.ColumnsOf(Pattern));

    /// <summary>Wraps 8-bit values, their scales and their mask: a kept value is the product of the whole number and its group's scale.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="values">[rows, columns·N/M], the kept values in column order, from −127 to 127. Taken over without a copy: do not change it afterwards.</param>
    /// <param name="scales">
    /// [rows, <see cref="RowScaleCount"/>], at least 0, exact in bfloat16, and finite 127 times over. Taken over without a copy: do not change it afterwards.
    /// </param>
    /// <param name="mask">As of a core of floats. Taken over without a copy.</param>
    /// <param name="pattern">N:M; 2:4 where left out.</param>
    /// <exception cref="ArgumentException">A size, a value, a scale or the mask is wrong; names the place.</exception>
    public static SparseCore FromQuantised(int rows, int columns, sbyte[] values, float[] scales, byte[] mask, SparsityPattern pattern = default)
    {
        CheckShape(rows, columns, pattern);
        return new SparseCore(rows, columns, new Int8Values(rows, columns, pattern, values, scales), mask, pattern);
    }

    /// <summary>One row's values in units of their scales, [columns·N/M].</summary>
    /// <param name="row">From 0.</param>
    /// <exception cref="InvalidOperationException">The core is not quantised.</exception>
    public ReadOnlySpan<sbyte> RowQuantised(int row) => Int8().Row(row);

    /// <summary>One row's scales, [<see cref="RowScaleCount"/>].</summary>
    /// <param name="row">From 0.</param>
    /// <exception cref="InvalidOperationException">The core is not quantised.</exception>
    public ReadOnlySpan<float> RowScales(int row) => Int8().RowScales(row);

    /// <summary>The core as it is after storing its values in a type and reading them back; it holds floats but for I8, which makes a quantised core.</summary>
    /// <param name="type">F32, F16, BF16, F64 or I8.</param>
    /// <exception cref="ArgumentException">A value for I8 is not finite.</exception>
    public SparseCore RoundedTo(TensorElementType type)
    {
        if (IsQuantised ? type == TensorElementType.Int8 : type == TensorElementType.Float32)
        {
            return this;
        }

        return type == TensorElementType.Int8
            ? new SparseCore(Rows, Columns, Int8Rounding.Round(Rows, Columns, Pattern, Floats()), _mask, Pattern)
            : new SparseCore(Rows, Columns, FloatConversion.Rounded(type, Floats()), _mask, Pattern);
    }

    /// <summary>
    /// The core in floats as it is after storing its values in a type and reading them back, in memory of its own. Those of a quantised core stay exact.
    /// </summary>
    /// <param name="type">F32, F16, BF16 or F64.</param>
    internal SparseCore CopiedTo(TensorElementType type)
        => new(Rows, Columns, _int8?.ToFloat32() ?? FloatConversion.Rounded(type, Floats()), [.. _mask], Pattern);

    /// <summary>The size of a stored core: kept values, their scales where there are any, and mask.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="type">The stored type of the values; I8 for a quantised core.</param>
    /// <param name="pattern">N:M; 2:4 where left out.</param>
    /// <exception cref="ArgumentException">The columns are not whole groups.</exception>
    public static long StorageBytes(int rows, int columns, TensorElementType type, SparsityPattern pattern = default)
    {
        var scales = type == TensorElementType.Int8 ? (long)Int8Values.ScalesOf(columns, pattern) * Int8Values.ScaleType.ByteSize() : 0;
        return rows * (((long)pattern.KeptOf(columns) * type.ByteSize()) + scales + MaskRowBytes(columns));
    }

    /// <summary>Writes one row's kept values, [columns·N/M]; a quantised core need not hold them for it.</summary>
    internal void CopyRowTo(int row, Span<float> destination)
    {
        if (_values is { } values)
        {
            values.AsSpan(row * RowValueCount, RowValueCount).CopyTo(destination);
        }
        else
        {
            _int8!.CopyRowTo(row, destination);
        }
    }

    private Int8Values Int8() => _int8 ?? throw new InvalidOperationException("The core is not quantised.");

    private float[] Floats() => _values ??= _int8!.ToFloat32();
}
