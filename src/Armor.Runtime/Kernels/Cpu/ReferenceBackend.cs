using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>The plainest form of every operation, in float64 from input to output: what other backends are measured against.</summary>
public sealed class ReferenceBackend : KernelBackend
{
    /// <inheritdoc/>
    public override string Name => "CPU reference";

    /// <inheritdoc/>
    protected override void MultiplyInternal(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var item = 0; item < batch; item++)
        {
            var x = Widen(input.Slice(item * layer.Columns, layer.Columns));
            var wrapped = layer.InputWrapper is null ? x : Product(layer.InputWrapper, x);
            var core = Product(layer.Core, wrapped);
            var y = layer.OutputWrapper is null ? core : Product(layer.OutputWrapper, core);
            Narrow(y, output.Slice(item * layer.Rows, layer.Rows));
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyInternal(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var item = 0; item < batch; item++)
        {
            Narrow(Product(core, Widen(input.Slice(item * core.Columns, core.Columns))), output.Slice(item * core.Rows, core.Rows));
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyInternal(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var item = 0; item < batch; item++)
        {
            Narrow(Product(matrix, Widen(input.Slice(item * matrix.Size, matrix.Size))), output.Slice(item * matrix.Size, matrix.Size));
        }
    }

    /// <inheritdoc/>
    protected override void MultiplyDenseInternal(
        ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        for (var item = 0; item < batch; item++)
        {
            for (var row = 0; row < rows; row++)
            {
                double sum = 0;
                for (var column = 0; column < columns; column++)
                {
                    sum += (double)weight[(row * columns) + column] * input[(item * columns) + column];
                }

                output[(item * rows) + row] = (float)sum;
            }
        }
    }

    private static double[] Product(BlockDiagonalMatrix matrix, double[] x)
    {
        var y = new double[matrix.Size];
        var size = matrix.BlockSize;
        for (var row = 0; row < y.Length; row++)
        {
            var first = row / size * size;
            var coefficients = matrix.Block(row / size).Slice((row - first) * size, size);
            for (var k = 0; k < size; k++)
            {
                y[row] += coefficients[k] * x[first + k];
            }
        }

        return y;
    }

    private static double[] Product(SparseCore core, double[] x)
    {
        var y = new double[core.Rows];
        for (var row = 0; row < y.Length; row++)
        {
            var values = core.RowValues(row);
            var mask = core.RowMask(row);
            var next = 0;
            for (var column = 0; column < core.Columns; column++)
            {
                if (((mask[column / 8] >> (column % 8)) & 1) != 0)
                {
                    y[row] += values[next++] * x[column];
                }
            }
        }

        return y;
    }

    private static double[] Widen(ReadOnlySpan<float> values)
    {
        var result = new double[values.Length];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = values[i];
        }

        return result;
    }

    private static void Narrow(double[] values, Span<float> destination)
    {
        for (var i = 0; i < values.Length; i++)
        {
            destination[i] = (float)values[i];
        }
    }
}
