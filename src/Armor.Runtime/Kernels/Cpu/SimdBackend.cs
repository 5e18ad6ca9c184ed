using System.Buffers;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>Single-threaded portable SIMD in float32: a row of the weight at a time, dotted with every input of the batch.</summary>
public sealed class SimdBackend : KernelBackend
{
    /// <inheritdoc/>
    public override string Name => "CPU SIMD";

    /// <inheritdoc/>
    protected override void MultiplyInternal(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        var wrapped = layer.InputWrapper is null ? null : ArrayPool<float>.Shared.Rent(input.Length);
        var core = layer.OutputWrapper is null ? null : ArrayPool<float>.Shared.Rent(output.Length);
        try
        {
            var coreInput = input;
            if (layer.InputWrapper is not null)
            {
                var span = wrapped.AsSpan(0, input.Length);
                MultiplyInternal(layer.InputWrapper, input, batch, span);
                coreInput = span;
            }

            if (layer.OutputWrapper is null)
            {
                MultiplyInternal(layer.Core, coreInput, batch, output);
                return;
            }

            MultiplyInternal(layer.Core, coreInput, batch, core.AsSpan(0, output.Length));
            MultiplyInternal(layer.OutputWrapper, core.AsSpan(0, output.Length), batch, output);
        }
        finally
        {
            if (wrapped is not null)
            {
                ArrayPool<float>.Shared.Return(wrapped);
            }

            if (core is not null)
            {
                ArrayPool<float>.Shared.Return(core);
            }
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyInternal(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var row = 0; row < core.Rows; row++)
        {
            var values = core.RowValues(row);
            var mask = core.RowMask(row);
            for (var item = 0; item < batch; item++)
            {
                output[(item * core.Rows) + row] = SparseDotProduct.Compute(core.Pattern, values, mask, input.Slice(item * core.Columns, core.Columns));
            }
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyInternal(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        var size = matrix.BlockSize;
        for (var block = 0; block < matrix.BlockCount; block++)
        {
            var values = matrix.Block(block);
            for (var row = 0; row < size; row++)
            {
                var coefficients = values.Slice(row * size, size);
                for (var item = 0; item < batch; item++)
                {
                    var start = (item * matrix.Size) + (block * size);
                    output[start + row] = DotProduct.Compute(coefficients, input.Slice(start, size));
                }
            }
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyDenseInternal(
        ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var row = 0; row < rows; row++)
        {
            var coefficients = weight.Slice(row * columns, columns);
            for (var item = 0; item < batch; item++)
            {
                output[(item * rows) + row] = DotProduct.Compute(coefficients, input.Slice(item * columns, columns));
            }
        }
    }
}
