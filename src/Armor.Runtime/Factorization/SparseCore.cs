using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>
/// An N:M sparse matrix: exactly N kept values in each M consecutive columns of a row, 2:4 as a rule. A kept value may be zero. The values are held in
/// float32 or, of a quantised core, as whole numbers of 8 bits with a scale per group. Immutable.
/// </summary>
public sealed partial class SparseCore
{
    private readonly byte[] _mask;
    private float[]? _values; // of a quantised core once they were asked for

    /// <summary>Wraps kept values and their mask.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="values">[rows, columns·N/M], the kept values in column order. Taken over without a copy: do not change it afterwards.</param>
    /// <param name="mask">
    /// [rows, ceil(columns / 8)], column c at bit c % 8 of byte c / 8; bits beyond the last column are zero. Taken over without a copy.
    /// </param>
    /// <param name="pattern">N:M; 2:4 where left out.</param>
    /// <exception cref="ArgumentException">A size is wrong, or a group of M has not exactly N bits; names row and columns.</exception>
    public SparseCore(int rows, int columns, float[] values, byte[] mask, SparsityPattern pattern = default)
        : this(rows, columns, mask, pattern)
    {
        ArgumentNullException.ThrowIfNull(values);
        var kept = (long)rows * pattern.KeptOf(columns);
        if (values.Length != kept)
        {
            throw new ArgumentException($"A {pattern} core of {rows}×{columns} keeps {kept} values, not {values.Length}.", nameof(values));
        }

        _values = values;
    }

    private SparseCore(int rows, int columns, byte[] mask, SparsityPattern pattern)
    {
        ArgumentNullException.ThrowIfNull(mask);
        CheckShape(rows, columns, pattern);
        if (mask.Length != (long)rows * MaskRowBytes(columns))
        {
            throw new ArgumentException($"A {rows}×{columns} core has {(long)rows * MaskRowBytes(columns)} bytes of mask, not {mask.Length}.", nameof(mask));
        }

        if (FindInvalidGroup(mask, rows, columns, pattern) is { } group)
        {
            throw new ArgumentException($"{group.Place}: {group.Count} bits, not {group.Expected}.", nameof(mask));
        }

        Rows = rows;
        Columns = columns;
        Pattern = pattern;
        RowValueCount = pattern.KeptOf(columns);
        _mask = mask;
    }

    /// <summary>d_out.</summary>
    public int Rows { get; }

    /// <summary>d_in, a multiple of M.</summary>
    public int Columns { get; }

    /// <summary>N:M.</summary>
    public SparsityPattern Pattern { get; }

    /// <summary>The kept values of one row: columns·N/M.</summary>
    public int RowValueCount { get; }

    /// <summary>
    /// [rows, columns·N/M], the kept values in column order. Those of a quantised core are computed when they are first asked for, and kept.
    /// </summary>
    public ReadOnlyMemory<float> Values => Floats();

    /// <summary>[rows, ceil(columns / 8)], column c at bit c % 8 of byte c / 8; bits beyond the last column are zero.</summary>
    public ReadOnlyMemory<byte> Mask => _mask;

    /// <summary>The bytes of one row of the mask: ceil(columns / 8).</summary>
    /// <param name="columns">d_in.</param>
    public static int MaskRowBytes(int columns) => (int)(((long)columns + 7) / 8);

    /// <summary>
    /// Packs a dense matrix of at most N non-zeros in each M consecutive columns of a row. Where there are fewer, the lowest free columns keep a
    /// zero. NaN counts as a non-zero.
    /// </summary>
    /// <param name="dense">[rows, columns], row-major.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <param name="pattern">N:M; 2:4 where left out.</param>
    /// <exception cref="ArgumentException">A size is wrong, or a group of M has more than N non-zeros; names row and columns.</exception>
    public static SparseCore FromDense(ReadOnlySpan<float> dense, int rows, int columns, SparsityPattern pattern = default)
    {
        CheckShape(rows, columns, pattern);
        if (dense.Length != (long)rows * columns)
        {
            throw new ArgumentException($"A {rows}×{columns} matrix has {(long)rows * columns} values, not {dense.Length}.", nameof(dense));
        }

        var maskBytes = MaskRowBytes(columns);
        var values = new float[(long)rows * pattern.KeptOf(columns)];
        var mask = new byte[(long)rows * maskBytes];
        var next = 0;
        for (var row = 0; row < rows; row++)
        {
            for (var first = 0; first < columns; first += pattern.Group)
            {
                var group = dense.Slice((row * columns) + first, pattern.Group);
                var bits = 0;
                for (var c = 0; c < group.Length; c++)
                {
                    bits |= group[c] != 0 ? 1 << c : 0;
                }

                if (int.PopCount(bits) > pattern.Kept)
                {
                    var invalid = new InvalidGroup(row, first, pattern.Group, int.PopCount(bits), pattern.Kept);
                    throw new ArgumentException($"{invalid.Place}: {invalid.Count} non-zeros, not at most {invalid.Expected}.", nameof(dense));
                }

                while (int.PopCount(bits) < pattern.Kept)
                {
                    bits |= bits + 1;
                }

                MaskBits.Set(mask.AsSpan(row * maskBytes, maskBytes), first, bits);
                for (; bits != 0; bits &= bits - 1)
                {
                    values[next++] = group[int.TrailingZeroCount(bits)];
                }
            }
        }

        return new SparseCore(rows, columns, values, mask, pattern);
    }

    /// <summary>One row's kept values in column order, [columns·N/M]; of a quantised core as of <see cref="Values"/>.</summary>
    /// <param name="row">From 0.</param>
    public ReadOnlySpan<float> RowValues(int row) => Floats().AsSpan(row * RowValueCount, RowValueCount);

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
        var values = new float[RowValueCount];
        for (var row = 0; row < Rows; row++)
        {
            var columns = MaskBits.In(RowMask(row));
            var output = destination.Slice(row * Columns, Columns);
            CopyRowTo(row, values);
            foreach (var value in values)
            {
                output[columns.Next()] = value;
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

    /// <summary>The first group of M that has not exactly N bits, or bits beyond the last column, or null.</summary>
    internal static InvalidGroup? FindInvalidGroup(ReadOnlySpan<byte> mask, int rows, int columns, SparsityPattern pattern)
    {
        var rowBytes = MaskRowBytes(columns);
        for (var row = pattern == SparsityPattern.TwoFour && columns % 8 == 0 ? ValidTwoFourBytes(mask) / rowBytes : 0; row < rows; row++)
        {
            var maskRow = mask.Slice(row * rowBytes, rowBytes);
            for (var first = 0; first < columns; first += pattern.Group)
            {
                var count = int.PopCount(MaskBits.Of(maskRow, first, pattern.Group));
                if (count != pattern.Kept)
                {
                    return new InvalidGroup(row, first, pattern.Group, count, pattern.Kept);
                }
            }

            if (columns % 8 != 0 && maskRow[^1] >> (columns % 8) != 0)
            {
                return new InvalidGroup(row, columns, 8 - (columns % 8), int.PopCount(maskRow[^1] >> (columns % 8)), 0);
            }
        }

        return null;
    }

    /// <summary>How many bytes at the start hold two valid groups each, eight bytes at a time.</summary>
    private static int ValidTwoFourBytes(ReadOnlySpan<byte> mask)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(mask);
        var valid = 0;
        while (valid < words.Length)
        {
            // Bits are counted in pairs, then pairs in fours.
            var pairs = words[valid] - ((words[valid] >> 1) & 0x5555555555555555);
            if ((pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333) != 0x2222222222222222)
            {
                break;
            }

            valid++;
        }

        return valid * sizeof(ulong);
    }

    private static void CheckShape(int rows, int columns, SparsityPattern pattern)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        _ = pattern.KeptOf(columns);
        if ((long)rows * columns > Array.MaxLength)
        {
            throw new ArgumentException($"A {rows}×{columns} matrix has more than {Array.MaxLength} elements.", nameof(rows));
        }
    }

    /// <summary>Columns of a row that keep another number than the pattern wants; beyond the last column that is none.</summary>
    internal readonly record struct InvalidGroup(int Row, int Column, int Size, int Count, int Expected)
    {
        public string Place => $"Row {Row}, columns {Column} to {Column + Size - 1}";
    }
}
