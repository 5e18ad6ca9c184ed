using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels;

/// <summary>
/// A dense weight, [d_out, d_in], handed out in pieces of rows while it is packed, so that a large one need never be in memory as float32. Safe for
/// reading from several threads.
/// </summary>
public abstract class DenseWeightSource
{
    /// <summary>Describes a weight.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is below one.</exception>
    protected DenseWeightSource(int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        Rows = rows;
        Columns = columns;
    }

    /// <summary>d_out.</summary>
    public int Rows { get; }

    /// <summary>d_in.</summary>
    public int Columns { get; }

    /// <summary>A weight that is in memory.</summary>
    /// <param name="values">[d_out, d_in], row-major.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <exception cref="ArgumentException">A size is below one, or there is another number of values.</exception>
    public static DenseWeightSource FromMemory(ReadOnlyMemory<float> values, int rows, int columns) => new InMemory(values, rows, columns);

    /// <summary>Reads rows.</summary>
    /// <param name="firstRow">From 0.</param>
    /// <param name="destination">Whole rows, [rows wanted, d_in], row-major; filled whole.</param>
    /// <exception cref="ArgumentException">The destination is not of whole rows, or they are not inside the weight.</exception>
    public void Read(int firstRow, Span<float> destination)
    {
        if (destination.Length % Columns != 0 || firstRow < 0 || destination.Length / Columns > Rows - firstRow)
        {
            throw new ArgumentException(
                $"{destination.Length} values from row {firstRow} on are not whole rows of {Columns} inside a weight of {Rows}.", nameof(destination));
        }

        ReadRows(firstRow, destination);
    }

    /// <summary>Refuses what has no 8 bits.</summary>
    /// <param name="firstRow">Where the values begin.</param>
    /// <param name="values">Whole rows.</param>
    /// <exception cref="ArgumentException">A value is not finite; names row and column.</exception>
    internal void RequireFinite(int firstRow, ReadOnlySpan<float> values)
    {
        if (FloatConversion.IndexOfNonFinite(values) is >= 0 and var index)
        {
            var (row, column) = Math.DivRem(index, Columns);
            throw new ArgumentException(FormattableString.Invariant($"Row {firstRow + row}, column {column} is {values[index]}: only finite values have 8 bits."));
        }
    }

    /// <summary>Reads rows; everything is checked.</summary>
    /// <param name="firstRow">From 0.</param>
    /// <param name="destination">[rows wanted, d_in]; filled whole.</param>
    protected abstract void ReadRows(int firstRow, Span<float> destination);

    private sealed class InMemory : DenseWeightSource
    {
        private readonly ReadOnlyMemory<float> _values;

        public InMemory(ReadOnlyMemory<float> values, int rows, int columns)
            : base(rows, columns)
        {
            if (values.Length != (long)rows * columns)
            {
                throw new ArgumentException($"{rows}×{columns} are {(long)rows * columns} values, not {values.Length}.", nameof(values));
            }

            _values = values;
        }

        protected override void ReadRows(int firstRow, Span<float> destination)
            => _values.Span.Slice(firstRow * Columns, destination.Length).CopyTo(destination);
    }
}
