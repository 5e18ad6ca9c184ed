using System.Diagnostics;
using Armor.Cli.Hosting;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Cli.Measuring;

/// <summary>Measures the kernels on weights of random numbers, of which there are as many copies as no cache holds.</summary>
/// <param name="size">Rows and columns of a weight.</param>
/// <param name="seconds">How long each kernel runs.</param>
/// <param name="cancellationToken">Checked between rounds.</param>
internal sealed class KernelBench(int size, double seconds, CancellationToken cancellationToken)
{
    private const int LargestBlock = 128;
    private const int MostCopies = 64;
    private const int SmallSize = 512;
    private const int FewestRounds = 3;

    /// <summary>Weights beyond any cache of one processor's part.</summary>
    private const long RotatedBytes = 256 << 20;

    private static readonly int[] Batches = [1, 4, 16, 64];

    private static readonly (TensorElementType Type, string Name)[] Types =
        [(TensorElementType.Float32, "float32"), (TensorElementType.BFloat16, "bfloat16")];

    private readonly Random random = new(1);

    private delegate KernelWeight Preparation(CpuBackend backend, TensorElementType type, int side);

    /// <summary>All rows of some numbers of threads.</summary>
    internal IReadOnlyList<KernelRow> Measure(IReadOnlyList<MemoryBandwidth> bandwidths, IProgress<Step> steps)
    {
        (string Name, Preparation Prepare)[] kernels =
        [
            ("dense", (backend, type, side) => backend.PrepareDense(DenseWeightSource.FromMemory(Values(side * side), side, side), type, cancellationToken)),
            ("2:4", (backend, type, side) => backend.PrepareLayer(new ArmorLayer(null, Core(side), null), type, cancellationToken)),
            ("armor", (backend, type, side) => backend.PrepareLayer(new ArmorLayer(Wrapper(side), Core(side), Wrapper(side)), type, cancellationToken)),
        ];
        List<KernelRow> rows = [];
        int all = kernels.Length * Types.Length * bandwidths.Count;
        WarmUp(kernels.Select(kernel => kernel.Prepare));
        foreach (MemoryBandwidth bandwidth in bandwidths)
        {
            using var backend = new CpuBackend(new CpuBackendOptions { Threads = bandwidth.Threads });
            foreach ((string kernel, Preparation prepare) in kernels)
            {
                foreach ((TensorElementType type, string typeName) in Types)
                {
                    steps.Report(new Step((double)rows.Count / (all * Batches.Length), $"{kernel} {typeName}", null));
                    rows.AddRange(MeasureOne(() => prepare(backend, type, size)).Select(timed => new KernelRow(
                        kernel, typeName, size, size, timed.Batch, bandwidth.Threads, timed.Microseconds, timed.Bytes / timed.Microseconds / 1e3,
                        timed.Bytes / timed.Microseconds / 1e3 / bandwidth.GigabytesPerSecond)));
                }
            }
        }

        return rows;
    }

    /// <summary>The run-time compiles what has run for a while once more, and better: every kernel runs on a small weight first.</summary>
    private void WarmUp(IEnumerable<Preparation> kernels)
    {
        int small = Math.Min(size, SmallSize);
        using var backend = new CpuBackend(new CpuBackendOptions { Threads = 1 });
        foreach (Preparation prepare in kernels)
        {
            foreach ((TensorElementType type, _) in Types)
            {
                using KernelWeight weight = prepare(backend, type, small);
                foreach (int batch in Batches)
                {
                    Time([weight], batch);
                }
            }
        }
    }

    private List<(int Batch, double Microseconds, long Bytes)> MeasureOne(Func<KernelWeight> prepare)
    {
        List<KernelWeight> copies = [prepare()];
        try
        {
            long bytes = copies[0].Bytes;
            while (copies.Count < MostCopies && copies.Count * bytes < RotatedBytes)
            {
                cancellationToken.ThrowIfCancellationRequested();
                copies.Add(prepare());
            }

            return [.. Batches.Select(batch => (batch, Time(copies, batch), bytes))];
        }
        finally
        {
            copies.ForEach(copy => copy.Dispose());
        }
    }

    /// <summary>Microseconds a call: rounds over all copies, the fastest counts, so that a disturbed one does not.</summary>
    private double Time(List<KernelWeight> copies, int batch)
    {
        float[] input = Values(batch * copies[0].Columns);
        var output = new float[batch * copies[0].Rows];
        double best = double.PositiveInfinity;
        long begin = Stopwatch.GetTimestamp();
        for (int rounds = 0; rounds < FewestRounds || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds; rounds++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long round = Stopwatch.GetTimestamp();
            foreach (KernelWeight copy in copies)
            {
                copy.Multiply(input, batch, output);
            }

            best = Math.Min(best, Stopwatch.GetElapsedTime(round).TotalMicroseconds / copies.Count);
        }

        return best;
    }

    private float[] Values(int count)
    {
        var values = new float[count];
        foreach (ref float value in values.AsSpan())
        {
            value = random.NextSingle() - 0.5f;
        }

        return values;
    }

    private SparseCore Core(int side) => SparseCore.FromDense(Masked(side), side, side);

    /// <summary>Two numbers in each four.</summary>
    private float[] Masked(int side)
    {
        float[] values = Values(side * side);
        for (int group = 0; group < values.Length; group += 4)
        {
            int first = random.Next(4);
            int second = (first + 1 + random.Next(3)) % 4;
            for (int place = 0; place < 4; place++)
            {
                values[group + place] = place == first || place == second ? values[group + place] : 0;
            }
        }

        return values;
    }

    private BlockDiagonalMatrix Wrapper(int side)
    {
        int block = LargestBlock;
        while (side % block != 0)
        {
            block /= 2;
        }

        return new BlockDiagonalMatrix(side / block, block, Values(side * block));
    }
}
