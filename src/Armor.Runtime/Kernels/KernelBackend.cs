using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>A backend over host memory: the public methods check sizes, overlap and support; the hooks of a derived class do the work.</summary>
public abstract class KernelBackend : IKernelBackend
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <inheritdoc/>
    public virtual KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType)
    {
        if (!Enum.IsDefined(operation))
        {
            return KernelSupport.Unsupported($"{Name} knows no operation {operation}.");
        }

        if (elementType != TensorElementType.Float32)
        {
            return KernelSupport.Unsupported($"{Name} multiplies by weights held as Float32, not as {elementType}.");
        }

        if (shape.Rows < 1 || shape.Columns < 1 || shape.Batch < 0 || shape.OutputBlock < 1 || shape.InputBlock < 1)
        {
            return KernelSupport.Unsupported($"{shape} has a size below one.");
        }

        return operation switch
        {
            KernelOperation.BlockDiagonal when shape.Rows != shape.Columns || shape.Columns % shape.InputBlock != 0
                => KernelSupport.Unsupported($"{shape} is not a square of whole blocks."),
            KernelOperation.SparseCore or KernelOperation.Armor when shape.Columns % shape.Pattern.Group != 0
                => KernelSupport.Unsupported($"A {shape.Pattern} matrix has a multiple of {shape.Pattern.Group} columns, not {shape.Columns}."),
            KernelOperation.Armor when shape.Rows % shape.OutputBlock != 0 || shape.Columns % shape.InputBlock != 0
                => KernelSupport.Unsupported($"{shape} is not of whole blocks."),
            _ => KernelSupport.Supported,
        };
    }

    /// <inheritdoc/>
    public void Multiply(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        ArgumentNullException.ThrowIfNull(layer);
        var shape = new KernelShape(layer.Rows, layer.Columns, batch, layer.OutputWrapper?.BlockSize ?? 1, layer.InputWrapper?.BlockSize ?? 1, layer.Core.Pattern);
        Check(KernelOperation.Armor, shape, input, output);
        MultiplyInternal(layer, input, batch, output);
    }

    /// <inheritdoc/>
    public void Multiply(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        ArgumentNullException.ThrowIfNull(core);
        Check(KernelOperation.SparseCore, new KernelShape(core.Rows, core.Columns, batch, Pattern: core.Pattern), input, output);
        MultiplyInternal(core, input, batch, output);
    }

    /// <inheritdoc/>
    public void Multiply(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        Check(KernelOperation.BlockDiagonal, new KernelShape(matrix.Size, matrix.Size, batch, InputBlock: matrix.BlockSize), input, output);
        MultiplyInternal(matrix, input, batch, output);
    }

    /// <inheritdoc/>
    public void MultiplyDense(ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        CheckLength(weight.Length, rows, columns, nameof(weight));
        Check(KernelOperation.Dense, new KernelShape(rows, columns, batch), input, output);
        if (output.Overlaps(weight))
        {
            throw new ArgumentException("The output overlaps the weight.", nameof(output));
        }

        MultiplyDenseInternal(weight, rows, columns, input, batch, output);
    }

    /// <summary>Multiplies by a factorised layer; everything is checked.</summary>
    /// <param name="layer">[d_out, d_in].</param>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">The number of inputs; may be zero.</param>
    /// <param name="output">[batch, d_out]; its content is undefined before.</param>
    protected abstract void MultiplyInternal(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a sparse core; everything is checked.</summary>
    /// <param name="core">[d_out, d_in].</param>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">The number of inputs; may be zero.</param>
    /// <param name="output">[batch, d_out]; its content is undefined before.</param>
    protected abstract void MultiplyInternal(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a block-diagonal matrix; everything is checked.</summary>
    /// <param name="matrix">[d, d].</param>
    /// <param name="input">[batch, d].</param>
    /// <param name="batch">The number of inputs; may be zero.</param>
    /// <param name="output">[batch, d]; its content is undefined before.</param>
    protected abstract void MultiplyInternal(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a dense weight; everything is checked.</summary>
    /// <param name="weight">[d_out, d_in].</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">The number of inputs; may be zero.</param>
    /// <param name="output">[batch, d_out]; its content is undefined before.</param>
    protected abstract void MultiplyDenseInternal(
        ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output);

    private static void CheckLength(int length, int count, int size, string parameter)
    {
        if (length != (long)count * size)
        {
            throw new ArgumentException($"{count}×{size} are {(long)count * size} values, not {length}.", parameter);
        }
    }

    private void Check(KernelOperation operation, KernelShape shape, ReadOnlySpan<float> input, Span<float> output)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(shape.Batch, "batch");
        CheckLength(input.Length, shape.Batch, shape.Columns, nameof(input));
        CheckLength(output.Length, shape.Batch, shape.Rows, nameof(output));
        if (output.Overlaps(input))
        {
            throw new ArgumentException("The output overlaps the input.", nameof(output));
        }

        var support = Supports(operation, shape, TensorElementType.Float32);
        if (!support.IsSupported)
        {
            throw new NotSupportedException(support.Reason);
        }
    }
}
