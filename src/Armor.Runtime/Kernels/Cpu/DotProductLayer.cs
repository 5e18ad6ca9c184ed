using System.Buffers;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>A factorised layer in float32: a row of a factor at a time, dotted with every input of the batch.</summary>
internal sealed class DotProductLayer(KernelOperation operation, ArmorLayer layer)
    : KernelWeight(operation, layer.Rows, layer.Columns, TensorElementType.Float32, layer.StorageBytes(TensorElementType.Float32))
{
    protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        var wrapped = layer.InputWrapper is null ? null : ArrayPool<float>.Shared.Rent(input.Length);
        var core = layer.OutputWrapper is null ? null : ArrayPool<float>.Shared.Rent(output.Length);
        try
        {
            var coreInput = input;
            if (layer.InputWrapper is not null)
            {
                var span = wrapped.AsSpan(0, input.Length);
                Multiply(layer.InputWrapper, input, batch, span);
                coreInput = span;
            }

            if (layer.OutputWrapper is null)
            {
                Multiply(layer.Core, coreInput, batch, output);
                return;
            }

            Multiply(layer.Core, coreInput, batch, core.AsSpan(0, output.Length));
            Multiply(layer.OutputWrapper, core.AsSpan(0, output.Length), batch, output);
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

    protected override void CopyRowChecked(int row, Span<float> destination) => throw new NotSupportedException();

    private static void Multiply(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output)
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

    private static void Multiply(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output)
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
}
