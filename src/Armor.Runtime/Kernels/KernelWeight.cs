using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels;

/// <summary>
/// A weight as a backend holds it, made by <see cref="IKernelBackend"/>. Each input of a batch is multiplied by itself: a result depends neither on
/// the inputs beside it nor on the number of threads. Safe for use from several threads; disposing of it lets products under way finish.
/// </summary>
public abstract class KernelWeight : IDisposable
{
    private volatile bool _isDisposed;

    /// <summary>Describes a weight.</summary>
    /// <param name="operation">What it is.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <param name="elementType">The type in which values are held; that of the core's for a factorised weight.</param>
    /// <param name="bytes">The memory that it takes.</param>
    protected KernelWeight(KernelOperation operation, int rows, int columns, TensorElementType elementType, long bytes)
    {
        Operation = operation;
        Rows = rows;
        Columns = columns;
        ElementType = elementType;
        Bytes = bytes;
    }

    /// <summary>What the weight is.</summary>
    public KernelOperation Operation { get; }

    /// <summary>d_out.</summary>
    public int Rows { get; }

    /// <summary>d_in.</summary>
    public int Columns { get; }

    /// <summary>The type in which values are held; that of the core's for a factorised weight.</summary>
    public TensorElementType ElementType { get; }

    /// <summary>The memory that the weight takes, and that a product by it reads.</summary>
    public long Bytes { get; }

    /// <summary>Multiplies each input of a batch.</summary>
    /// <param name="input">[batch, d_in], row-major.</param>
    /// <param name="batch">The number of inputs; may be zero.</param>
    /// <param name="output">[batch, d_out], row-major; must not overlap the input.</param>
    /// <exception cref="ArgumentException">A length does not agree with the weight and the batch, or input and output overlap.</exception>
    /// <exception cref="ObjectDisposedException">The weight is disposed of.</exception>
    public void Multiply(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(batch);
        CheckLength(input.Length, batch, Columns, nameof(input));
        CheckLength(output.Length, batch, Rows, nameof(output));
        if (output.Overlaps(input))
        {
            throw new ArgumentException("The output overlaps the input.", nameof(output));
        }

        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (batch > 0)
        {
            MultiplyChecked(input, batch, output);
        }
    }

    /// <summary>Copies a row of a dense weight as it is held: what an embedding needs, where it shares its weight with the head.</summary>
    /// <param name="row">From 0.</param>
    /// <param name="destination">[d_in].</param>
    /// <exception cref="NotSupportedException">The weight is not dense.</exception>
    /// <exception cref="ArgumentException">There is no such row, or the destination has another length.</exception>
    /// <exception cref="ObjectDisposedException">The weight is disposed of.</exception>
    public void CopyRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(row);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(row, Rows);
        CheckLength(destination.Length, 1, Columns, nameof(destination));
        if (Operation != KernelOperation.Dense)
        {
            throw new NotSupportedException("Only a dense weight has its rows at hand.");
        }

        ObjectDisposedException.ThrowIf(_isDisposed, this);
        CopyRowChecked(row, destination);
    }

    /// <summary>Gives the weight's memory back.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Multiplies; everything is checked.</summary>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="output">[batch, d_out]; its content is undefined before.</param>
    protected abstract void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Copies a row of a dense weight; everything is checked.</summary>
    /// <param name="row">From 0.</param>
    /// <param name="destination">[d_in].</param>
    protected abstract void CopyRowChecked(int row, Span<float> destination);

    /// <summary>Gives memory back.</summary>
    /// <param name="disposing">Whether <see cref="Dispose()"/> was called.</param>
    protected virtual void Dispose(bool disposing) => _isDisposed = true;

    private static void CheckLength(int length, int count, int size, string parameter)
    {
        if (length != (long)count * size)
        {
            throw new ArgumentException($"{count}×{size} are {(long)count * size} values, not {length}.", parameter);
        }
    }
}
