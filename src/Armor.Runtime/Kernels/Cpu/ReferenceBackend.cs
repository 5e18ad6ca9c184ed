using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>The plainest form of every operation, in float64 from input to output: what other backends are measured against.</summary>
public sealed class ReferenceBackend : KernelBackend
{
    /// <inheritdoc/>
    public override string Name => "CPU reference";

    /// <inheritdoc/>
    protected override bool HoldsDenseInt8 => true;

    /// <inheritdoc/>
    protected override bool HoldsWrappersApart => true;

    /// <inheritdoc/>
    protected override KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(source);
        cancellationToken.ThrowIfCancellationRequested();
        var values = new float[(long)source.Rows * source.Columns];
        source.Read(0, values);
        var rounded = elementType == TensorElementType.Int8 ? RoundedToInt8(source, values) : FloatConversion.Rounded(elementType, values);
        return new Dense(source.Rows, source.Columns, elementType, rounded);
    }

    /// <inheritdoc/>
    protected override KernelWeight PackLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(layer);
        cancellationToken.ThrowIfCancellationRequested();
        return new Layer(OperationOf(layer), layer.CopiedTo(elementType, wrapperType), layer.Core.IsQuantised ? TensorElementType.Int8 : elementType);
    }

    private static float[] RoundedToInt8(DenseWeightSource source, float[] values)
    {
        source.RequireFinite(0, values);
        var whole = new sbyte[source.Columns];
        var scales = new float[Int8Values.ScalesOf(source.Columns)];
        for (var row = 0; row < source.Rows; row++)
        {
            var own = values.AsSpan(row * source.Columns, source.Columns);
            Int8Rounding.RoundRow(own, Int8Values.GroupColumns, whole, scales);
            for (var column = 0; column < own.Length; column++)
            {
                own[column] = whole[column] * scales[column / Int8Values.GroupColumns];
            }
        }

        return values;
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

    private abstract class Weight(KernelOperation operation, int rows, int columns, TensorElementType elementType, long bytes)
        : KernelWeight(operation, rows, columns, elementType, bytes)
    {
        protected abstract double[] Product(double[] x);

        protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
        {
            for (var item = 0; item < batch; item++)
            {
                Narrow(Product(Widen(input.Slice(item * Columns, Columns))), output.Slice(item * Rows, Rows));
            }
        }

        protected override void CopyRowChecked(int row, Span<float> destination) => throw new NotSupportedException();
    }

    private sealed class Dense(int rows, int columns, TensorElementType elementType, float[] values)
        : Weight(KernelOperation.Dense, rows, columns, elementType, values.LongLength * sizeof(float))
    {
        protected override double[] Product(double[] x)
        {
            var y = new double[Rows];
            for (var row = 0; row < Rows; row++)
            {
                for (var column = 0; column < Columns; column++)
                {
                    y[row] += values[(row * Columns) + column] * x[column];
                }
            }

            return y;
        }

        protected override void CopyRowChecked(int row, Span<float> destination) => values.AsSpan(row * Columns, Columns).CopyTo(destination);
    }

    private sealed class Layer(KernelOperation operation, ArmorLayer layer, TensorElementType elementType)
        : Weight(operation, layer.Rows, layer.Columns, elementType, layer.StorageBytes(TensorElementType.Float32))
    {
        protected override double[] Product(double[] x)
        {
            var core = Core(layer.InputWrapper is null ? x : Wrapper(layer.InputWrapper, x));
            return layer.OutputWrapper is null ? core : Wrapper(layer.OutputWrapper, core);
        }

        private static double[] Wrapper(BlockDiagonalMatrix matrix, double[] x)
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

        private double[] Core(double[] x)
        {
            var y = new double[layer.Rows];
            for (var row = 0; row < y.Length; row++)
            {
                var values = layer.Core.RowValues(row);
                var mask = layer.Core.RowMask(row);
                var next = 0;
                for (var column = 0; column < layer.Columns; column++)
                {
                    if (((mask[column / 8] >> (column % 8)) & 1) != 0)
                    {
                        y[row] += values[next++] * x[column];
                    }
                }
            }

            return y;
        }
    }
}
