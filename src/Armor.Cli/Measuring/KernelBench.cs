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

    private readonly Random random = new(1);

    /// <summary>Packs one more copy of a weight.</summary>
    private delegate KernelWeight Preparation(CpuBackend backend);

    /// <summary>All rows, and the bandwidth beside which they were measured, for some numbers of threads.</summary>
    internal (IReadOnlyList<MemoryBandwidth> Bandwidths, IReadOnlyList<KernelRow> Rows) Measure(IReadOnlyList<int> threadCounts, IProgress<Step> steps)
    {
        WarmUp();
        (string Kernel, string Type, Preparation Prepare)[] kernels = Kernels(size);
        List<MemoryBandwidth> bandwidths = [];
        List<KernelRow> rows = [];
        int all = threadCounts.Count * kernels.Length;
        foreach (int threads in threadCounts)
        {
            using var backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
            using var probe = new BandwidthProbe(threads);
            foreach ((string kernel, string type, Preparation prepare) in kernels)
            {
                steps.Report(new Step((double)rows.Count / (all * Batches.Length), $"{kernel} {type}", null));
                rows.AddRange(MeasureOne(() => prepare(backend), probe).Select(timed => new KernelRow(
                    kernel, type, size, size, timed.Batch, threads, timed.Microseconds, timed.Bytes / timed.Microseconds / 1e3, timed.Fraction)));
            }

            bandwidths.Add(new MemoryBandwidth(threads, probe.Best));
        }

        return (bandwidths, rows);
    }

    private (string Kernel, string Type, Preparation Prepare)[] Kernels(int side)
    {
        const TensorElementType Single = TensorElementType.Float32;
        const TensorElementType BFloat = TensorElementType.BFloat16;
        float[] values = Masked(side);
        var layer = new ArmorLayer(Wrapper(side), SparseCore.FromDense(values, side, side), Wrapper(side));
        ArmorLayer quantised = layer.RoundedTo(BFloat, TensorElementType.Int8);
        return
        [
            ("dense", "float32", Dense(Single)),
            ("dense", "bfloat16", Dense(BFloat)),
            ("dense", "int8", Dense(TensorElementType.Int8)),
            ("2:4", "float32", Layer(new ArmorLayer(null, layer.Core, null), Single)),
            ("2:4", "bfloat16", Layer(new ArmorLayer(null, layer.Core, null), BFloat)),
            ("2:4", "int8", Layer(new ArmorLayer(null, quantised.Core, null), BFloat)),
            ("armor", "float32", Layer(layer, Single)),
            ("armor", "bfloat16", Layer(layer, BFloat)),
            ("armor", "int8", Layer(quantised, BFloat)),
            ("armor, int8 wrappers", "bfloat16", Layer(layer, BFloat, TensorElementType.Int8)),
            ("armor, int8 wrappers", "int8", Layer(quantised, BFloat, TensorElementType.Int8)),
        ];

        Preparation Dense(TensorElementType type)
            => backend => backend.PrepareDense(DenseWeightSource.FromMemory(values, side, side), type, cancellationToken);

        Preparation Layer(ArmorLayer weight, TensorElementType type, TensorElementType? wrapperType = null)
            => backend => backend.PrepareLayer(weight, type, wrapperType, cancellationToken);
    }

    /// <summary>The run-time compiles what has run for a while once more, and better: every kernel runs on a small weight first.</summary>
    private void WarmUp()
    {
        using var backend = new CpuBackend(new CpuBackendOptions { Threads = 1 });
        foreach ((_, _, Preparation prepare) in Kernels(Math.Min(size, SmallSize)))
        {
            using KernelWeight weight = prepare(backend);
            foreach (int batch in Batches)
            {
                Time([weight], batch, null);
            }
        }
    }

    private List<(int Batch, double Microseconds, double Fraction, long Bytes)> MeasureOne(Func<KernelWeight> prepare, BandwidthProbe probe)
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

            return [.. Batches.Select(batch =>
            {
                (double microseconds, double fraction) = Time(copies, batch, probe);
                return (batch, microseconds, fraction, bytes);
            })];
        }
        finally
        {
            copies.ForEach(copy => copy.Dispose());
        }
    }

    /// <summary>
    /// Rounds over all copies: the fastest one's microseconds a call, so that a disturbed one does not count, and the median round's share of the
    /// bandwidth that was read shortly before or after it.
    /// </summary>
    private (double Microseconds, double Fraction) Time(List<KernelWeight> copies, int batch, BandwidthProbe? probe)
    {
        float[] input = Values(batch * copies[0].Columns);
        var output = new float[batch * copies[0].Rows];
        double best = double.PositiveInfinity;
        List<double> fractions = [];
        long begin = Stopwatch.GetTimestamp();
        for (int rounds = 0; rounds < FewestRounds || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds; rounds++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            double before = probe?.Recent() ?? 0;
            long round = Stopwatch.GetTimestamp();
            foreach (KernelWeight copy in copies)
            {
                copy.Multiply(input, batch, output);
            }

            double microseconds = Stopwatch.GetElapsedTime(round).TotalMicroseconds / copies.Count;
            best = Math.Min(best, microseconds);
            double bandwidth = Math.Max(before, probe?.Recent() ?? 0);
            fractions.Add(copies[0].Bytes / microseconds / 1e3 / bandwidth);
        }

        fractions.Sort();
        return (best, fractions[fractions.Count / 2]);
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
