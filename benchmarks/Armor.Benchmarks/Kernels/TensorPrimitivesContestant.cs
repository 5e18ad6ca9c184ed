using System.Numerics.Tensors;

namespace Armor.Benchmarks.Kernels;

/// <summary>System.Numerics.Tensors, which has no matrix product: a dot product for each row and input.</summary>
internal sealed class TensorPrimitivesContestant : Contestant
{
    private readonly int rows;
    private readonly int columns;
    private readonly int threads;
    private readonly float[][] weights;
    private float[] input = [];
    private float[] output = [];
    private int batch;

    public TensorPrimitivesContestant(KernelCase weight, int threads)
    {
        (rows, columns, this.threads) = (weight.Rows, weight.Columns, threads);
        weights = [.. Enumerable.Range(0, weight.Copies(weight.Dense.LongLength * sizeof(float))).Select(_ => weight.Dense.ToArray())];
    }

    public override long Bytes => weights[0].LongLength * sizeof(float);

    public override int Copies => weights.Length;

    public override void Begin(float[] input, int batch)
    {
        (this.input, this.batch) = (input, batch);
        output = new float[batch * rows];
    }

    public override void Multiply(int copy)
    {
        if (threads == 1)
        {
            MultiplyRows(copy, 0, rows);
        }
        else
        {
            Parallel.For(
                0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads },
                part => MultiplyRows(copy, (int)((long)rows * part / threads), (int)((long)rows * (part + 1) / threads)));
        }
    }

    public override float[] Output() => output;

    public override void Dispose()
    {
    }

    private void MultiplyRows(int copy, int first, int end)
    {
        for (int row = first; row < end; row++)
        {
            ReadOnlySpan<float> values = weights[copy].AsSpan(row * columns, columns);
            for (int item = 0; item < batch; item++)
            {
                output[(item * rows) + row] = TensorPrimitives.Dot(values, input.AsSpan(item * columns, columns));
            }
        }
    }
}
