using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>A 2:4 sparse matrix: exactly two kept values in each four consecutive columns of a row. A kept value may be zero. Immutable.</summary>
public sealed class SparseCore24
{
    private readonly float[] _values;
    private readonly byte[] _mask;

    /// <summary>Wraps kept values and their mask.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of four.</param>
    /// <param name="values">[rows, columns / 2], the kept values in column order. Taken over without a copy: do not change it afterwards.</param>
    /// <param name="mask">
    /// [rows, ceil(columns / 8)], column c at bit c % 8 of byte c / 8; bits beyond the last column are zero. Taken over without a copy.
    /// </param>
    /// <exception cref="ArgumentException">A size is wrong, or a group of four has not exactly two bits; names row and columns.</exception>
    public SparseCore24(int rows, int columns, float[] values, byte[] mask)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(mask);
        CheckShape(rows, columns);
        if (values.Length != (long)rows * columns / 2)
        {
            throw new ArgumentException($"A {rows}×{columns} core keeps {(long)rows * columns / 2} values, not {values.Length}.", nameof(values));
        }

        if (mask.Length != (long)rows * MaskRowBytes(columns))
        {
            throw new ArgumentException($"A {rows}×{columns} core has {(long)rows * MaskRowBytes(columns)} bytes of mask, not {mask.Length}.", nameof(mask));
        }

        if (FindInvalidGroup(mask, rows, columns) is { } group)
        {
            throw new ArgumentException(group.Describe(), nameof(mask));
        }

        Rows = rows;
        Columns = columns;
        _values = values;
        _mask = mask;
    }

    /// <summary>d_out.</summary>
    public int Rows { get; }

    /// <summary>d_in, a multiple of four.</summary>
    public int Columns { get; }

    /// <summary>[rows, columns / 2], the kept values in column order.</summary>
    public ReadOnlyMemory<float> Values => _values;

    /// <summary>[rows, ceil(columns / 8)], column c at bit c % 8 of byte c / 8; bits beyond the last column are zero.</summary>
    public ReadOnlyMemory<byte> Mask => _mask;

    /// <summary>The bytes of one row of the mask: ceil(columns / 8).</summary>
    /// <param name="columns">d_in.</param>
    public static int MaskRowBytes(int columns) => (int)(((long)columns + 7) / 8);

    /// <summary>
    /// Packs a dense matrix of at most two non-zeros in each four consecutive columns of a row. Where there are fewer, the lowest free columns
    /// keep a zero. NaN counts as a non-zero.
    /// </summary>
    /// <param name="dense">[rows, columns], row-major.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of four.</param>
    /// <exception cref="ArgumentException">A size is wrong, or a group of four has more than two non-zeros; names row and columns.</exception>
    public static SparseCore24 FromDense(ReadOnlySpan<float> dense, int rows, int columns)
    {
        CheckShape(rows, columns);
        if (dense.Length != (long)rows * columns)
        {
            throw new ArgumentException($"A {rows}×{columns} matrix has {(long)rows * columns} values, not {dense.Length}.", nameof(dense));
        }

        var maskBytes = MaskRowBytes(columns);
        var values = new float[(long)rows * columns / 2];
        var mask = new byte[(long)rows * maskBytes];
        var next = 0;
        for (var row = 0; row < rows; row++)
        {
            for (var group = 0; group < columns / 4; group++)
            {
                var four = dense.Slice((row * columns) + (group * 4), 4);
                var pattern = 0;
                for (var c = 0; c < 4; c++)
                {
                    pattern |= four[c] != 0 ? 1 << c : 0;
                }

                if (int.PopCount(pattern) > 2)
                {
                    throw new ArgumentException(new InvalidGroup(row, group * 4, int.PopCount(pattern)).Describe("non-zeros, not at most two"), nameof(dense));
                }

                for (var c = 0; int.PopCount(pattern) < 2; c++)
                {
                    pattern |= 1 << c;
                }

                values[next++] = four[MaskPatterns.First(pattern)];
                values[next++] = four[MaskPatterns.Second(pattern)];
                mask[(row * maskBytes) + (group >> 1)] |= (byte)(pattern << ((group & 1) * 4));
            }
        }

        return new SparseCore24(rows, columns, values, mask);
    }

    /// <summary>One row's kept values in column order, [columns / 2].</summary>
    /// <param name="row">From 0.</param>
    public ReadOnlySpan<float> RowValues(int row) => _values.AsSpan(row * (Columns / 2), Columns / 2);

    /// <summary>One row's mask, [ceil(columns / 8)].</summary>
    /// <param name="row">From 0.</param>
    public ReadOnlySpan<byte> RowMask(int row) => _mask.AsSpan(row * MaskRowBytes(Columns), MaskRowBytes(Columns));

    /// <summary>Writes the matrix with its zeros.</summary>
    /// <param name="destination">[rows, columns], row-major.</param>
    /// <exception cref="ArgumentException">The destination has another length.</exception>
    public void CopyDenseTo(Span<float> destination)
    {
        if (destination.Length != (long)Rows * Columns)
        {
            throw new ArgumentException($"A {Rows}×{Columns} matrix has {(long)Rows * Columns} values, not {destination.Length}.", nameof(destination));
        }

        destination.Clear();
        for (var row = 0; row < Rows; row++)
        {
            var values = RowValues(row);
            var mask = RowMask(row);
            var output = destination.Slice(row * Columns, Columns);
            for (var group = 0; group < Columns / 4; group++)
            {
                var pattern = MaskPatterns.Of(mask, group);
                output[(group * 4) + MaskPatterns.First(pattern)] = values[group * 2];
                output[(group * 4) + MaskPatterns.Second(pattern)] = values[(group * 2) + 1];
            }
        }
    }

    /// <summary>The matrix with its zeros, [rows, columns], row-major.</summary>
    public float[] ToDense()
    {
        var dense = new float[(long)Rows * Columns];
        CopyDenseTo(dense);
        return dense;
    }

    /// <summary>The core as it is after storing its values in a type and reading them back.</summary>
    /// <param name="type">F32, F16, BF16 or F64.</param>
    public SparseCore24 RoundedTo(TensorElementType type)
        => type == TensorElementType.Float32 ? this : new(Rows, Columns, FloatConversion.Rounded(type, _values), _mask);

    /// <summary>The first group of four that has not exactly two bits, or bits beyond the last column, or null.</summary>
    internal static InvalidGroup? FindInvalidGroup(ReadOnlySpan<byte> mask, int rows, int columns)
    {
        var rowBytes = MaskRowBytes(columns);
        for (var row = 0; row < rows; row++)
        {
            var maskRow = mask.Slice(row * rowBytes, rowBytes);
            for (var group = 0; group < columns / 4; group++)
            {
                if (!MaskPatterns.IsValid(MaskPatterns.Of(maskRow, group)))
                {
                    return new InvalidGroup(row, group * 4, int.PopCount(MaskPatterns.Of(maskRow, group)));
                }
            }

            if (columns % 8 != 0 && maskRow[^1] >> 4 != 0)
            {
                return new InvalidGroup(row, columns, int.PopCount(maskRow[^1] >> 4));
            }
        }

        return null;
    }

    private static void CheckShape(int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        if (columns % 4 != 0)
        {
            throw new ArgumentException($"A 2:4 matrix has a multiple of four columns, not {columns}.", nameof(columns));
        }

        if ((long)rows * columns > Array.MaxLength)
        {
            throw new ArgumentException($"A {rows}×{columns} matrix has more than {Array.MaxLength} elements.", nameof(rows));
        }
    }

    /// <summary>A group of four columns that is not 2:4.</summary>
    internal readonly record struct InvalidGroup(int Row, int Column, int Count)
    {
        public string Describe(string what = "bits, not two") => $"Row {Row}, columns {Column} to {Column + 3}: {Count} {what}.";
    }
}
