using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;
using Armor.Cuda.Packing;
using Armor.Cuda.Prefill;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.SelfTest;

/// <summary>
/// Ours beside NVIDIA's in one process, in rounds: everybody has a turn of some 20 ms in each, another one begins each round. Products are recorded as graphs, so
/// that the machine's own speed does not count; weights are read from copies beyond the second-level cache.
/// </summary>
internal sealed class Benchmarks(CudaBackend backend, bool isQuick, TextWriter report, Aims aims)
{
    public const string DenseBlas = "dense, cuBLASLt";
    public const string Core = "2:4, ours";
    public const string Layer = "A·S·B, ours";
    public const string LayerOfLibraries = "A·S·B, libraries";

    private const int Block = 128;

    private double _bandwidth;

    /// <summary>d_out and d_in of each weight.</summary>
    public IReadOnlyList<(int Rows, int Columns)> Shapes { get; init; } = isQuick ? [(4096, 4096)] : [(4096, 4096), (11008, 4096), (13824, 5120), (8192, 28672)];

    /// <summary>Numbers of inputs.</summary>
    public IReadOnlyList<int> Batches { get; init; } = [1, 4, 16, 2048];

    /// <summary>Turns of everybody.</summary>
    public int Rounds { get; init; } = isQuick ? 5 : 11;

    /// <summary>How much the copies of a weight take together.</summary>
    public long CopiedBytes { get; init; } = 512L << 20;

    public void Run()
    {
        var run = backend.Enter();
        try
        {
            _bandwidth = CopyBandwidth(run);
            report.WriteLine("## Speed");
            report.WriteLine();
            report.WriteLine(FormattableString.Invariant(
                $"Copying within the card's memory: {_bandwidth:0} GB/s, read and written together, the best of ten. bfloat16; blocks of {Block}; medians of rounds; bytes are those of the weight."));
            report.WriteLine();
            foreach (var (rows, columns) in Shapes)
            {
                foreach (var batch in Batches)
                {
                    Compare(run, rows, columns, batch);
                }

                Sweep(run, rows, columns);
            }
        }
        finally
        {
            backend.Leave();
        }
    }

    private double CopyBandwidth(DeviceRun run)
    {
        var bytes = Math.Min(2 * CopiedBytes, run.Device.FreeBytes() / 4);
        using var from = run.Device.Allocate(bytes);
        using var to = run.Device.Allocate(bytes);
        from.Fill(0x3C, run.Stream);
        using var start = run.Device.CreateEvent();
        using var end = run.Device.CreateEvent();
        var best = double.PositiveInfinity;
        for (var i = 0; i < 10; i++)
        {
            start.Record(run.Stream);
            to.CopyFrom(from, bytes, run.Stream);
            end.Record(run.Stream);
            run.Stream.Synchronize();
            best = Math.Min(best, start.Until(end).TotalSeconds);
        }

        return 2 * bytes / best / 1e9;
    }

    private static string Number(double value, string format) => value.ToString(format, System.Globalization.CultureInfo.InvariantCulture);

    private void Compare(DeviceRun run, int rows, int columns, int batch)
    {
        using var input = run.Device.Allocate((long)batch * columns * sizeof(float));
        using var halves = run.Device.Allocate((long)batch * columns * sizeof(ushort));
        using var output = run.Device.Allocate((long)batch * rows * sizeof(float));
        FillInputs(run, input, halves);
        var contestants = new List<Contestant>();
        try
        {
            foreach (var make in Makers(run, rows, columns, batch, input, halves, output))
            {
                try
                {
                    contestants.Add(make());
                    contestants[^1].Warm(run);
                }
                catch (CudaException exception)
                {
                    report.WriteLine($"Left out, {rows}×{columns}, batch {batch}: {exception.Message.ReplaceLineEndings(" ")}");
                    report.WriteLine();
                }
            }

            contestants.ForEach(contestant => contestant.Record(run));
            for (var round = 0; round < Rounds; round++)
            {
                for (var i = 0; i < contestants.Count; i++)
                {
                    contestants[(round + i) % contestants.Count].Measure(run);
                }
            }

            Print(rows, columns, batch, contestants);
        }
        finally
        {
            contestants.ForEach(contestant => contestant.Dispose());
        }
    }

    private void Print(int rows, int columns, int batch, List<Contestant> contestants)
    {
        var dense = contestants.FirstOrDefault(contestant => contestant.Name == DenseBlas);
        report.WriteLine($"### {rows}×{columns}, batch {batch}");
        report.WriteLine();
        report.WriteLine("| | µs | shortest | GB/s | of the copy bandwidth | against cuBLASLt dense |");
        report.WriteLine("| --- | --- | --- | --- | --- | --- |");
        foreach (var contestant in contestants)
        {
            var rate = contestant.Bytes / contestant.Microseconds / 1e3;
            aims.Add((rows, columns), batch, contestant.Name, contestant.Microseconds, rate / _bandwidth);
            var ratio = dense is null ? "" : $"{Number(dense.Microseconds / contestant.Microseconds, "0.00")}×";
            report.WriteLine(
                $"| {contestant.Name} | {Number(contestant.Microseconds, "0.00")} | {Number(contestant.Shortest, "0.00")} | {Number(rate, "0")} | {Number(100 * rate / _bandwidth, "0")} % | {ratio} |");
        }

        report.WriteLine();
    }

    private IEnumerable<Func<Contestant>> Makers(DeviceRun run, int rows, int columns, int batch, DeviceMemory input, DeviceMemory halves, DeviceMemory output)
    {
        const TensorElementType type = TensorElementType.BFloat16;
        if (backend.Prefill is { } libraries)
        {
            yield return () => MakeDense(run, libraries, rows, columns, batch, halves, output);
        }

        yield return () => Ours(run, "dense, ours", () => Synthetic.Dense(run, rows, columns, type), batch, input, output);
        yield return () => Ours(run, Core, () => Synthetic.Core(run, rows, columns, 1, type, false), batch, input, output);
        yield return () => Ours(run, "2:4 int8, ours", () => Synthetic.Core(run, rows, columns, 1, type, true), batch, input, output);
        yield return () => Ours(run, Layer, () => Synthetic.Core(run, rows, columns, Block, type, false), batch, input, output);
        yield return () => Ours(run, "A·S·B int8, ours", () => Synthetic.Core(run, rows, columns, Block, type, true), batch, input, output);
        if (backend.Prefill is { } both)
        {
            yield return () => SparseLibrary(run, both, rows, columns, batch);
            if (batch > 16)
            {
                yield return () => MakeLayer(run, both, rows, columns, batch, input, output);
            }
        }
    }

    /// <summary>Splits of the columns, one by one: whether the rule picks the best.</summary>
    private void Sweep(DeviceRun run, int rows, int columns)
    {
        using var input = run.Device.Allocate((long)columns * sizeof(float));
        using var halves = run.Device.Allocate((long)columns * sizeof(ushort));
        using var output = run.Device.Allocate((long)rows * sizeof(float));
        FillInputs(run, input, halves);
        report.WriteLine($"Splits of {rows}×{columns}, A·S·B, batch 1 (by rule {FragmentProduct.BestSplits(rows, columns, run.Device.Multiprocessors)}), µs:");
        report.WriteLine();
        for (var splits = 1; splits <= Math.Min(16, Fragments.ChunksOf(columns)); splits++)
        {
            var own = splits;
            using var contestant = Ours(run, $"{splits}", () => Synthetic.Core(run, rows, columns, Block, TensorElementType.BFloat16, false, own), 1, input, output);
            contestant.Warm(run);
            contestant.Record(run);
            for (var round = 0; round < 3; round++)
            {
                contestant.Measure(run);
            }

            report.Write($"{(splits == 1 ? "" : ", ")}{splits}: {Number(contestant.Shortest, "0.00")}");
        }

        report.WriteLine();
        report.WriteLine();
    }

    private int CopiesOf(DeviceRun run, long bytes)
        => (int)Math.Clamp(Math.Min((CopiedBytes + bytes - 1) / bytes, run.Device.FreeBytes() / 3 / bytes), 1, 32);

    private static void FillInputs(DeviceRun run, DeviceMemory input, DeviceMemory halves)
    {
        var count = (int)(input.Bytes / sizeof(float));
        var staging = run.Staging(input.Bytes);
        RandomWeights.Values(count, 7).CopyTo(staging.AsSpan<float>(count));
        input.CopyFrom(staging, input.Bytes, run.Stream);
        run.Launch(KernelNames.Narrow("bf16"), ((uint)count + 255) / 256, 1, 1, 256, new ConvertArguments
        {
            Input = input.Address, Output = halves.Address, Count = (ulong)count, Padded = (ulong)count,
        });
        run.Stream.Synchronize();
    }

    private Contestant Ours(DeviceRun run, string name, Func<FragmentProduct> make, int batch, DeviceMemory input, DeviceMemory output)
    {
        var weights = new List<FragmentProduct> { make() };
        var copies = CopiesOf(run, weights[0].Bytes);
        while (weights.Count < copies)
        {
            weights.Add(make());
        }

        return new Contestant(
            name, weights[0].Bytes, copies, copy => weights[copy].Multiply(run, input.Address, batch, output.Address), () => weights.ForEach(weight => weight.Dispose()));
    }

    private Contestant MakeDense(DeviceRun run, PrefillLibraries libraries, int rows, int columns, int batch, DeviceMemory halves, DeviceMemory output)
    {
        var plan = libraries.Blas(new BlockShape(1, rows, columns, batch, SparseLtNumbers.Real16BF, SparseLtNumbers.Real16BF));
        var weights = new List<DeviceMemory> { run.Upload(Synthetic.RowMajor(rows, columns), default) };
        var copies = CopiesOf(run, weights[0].Bytes);
        while (weights.Count < copies)
        {
            var copy = run.Device.Allocate(weights[0].Bytes);
            copy.CopyFrom(weights[0], copy.Bytes, run.Stream);
            weights.Add(copy);
        }

        // The library's first proposal is not always its best.
        var (best, least) = (0, double.PositiveInfinity);
        for (plan.Algorithm = 0; plan.Algorithm < plan.Algorithms; plan.Algorithm++)
        {
            var trial = Of(DenseBlas, () => { });
            trial.Warm(run);
            trial.Record(run);
            trial.Measure(run);
            trial.Measure(run);
            if (trial.Shortest < least)
            {
                (best, least) = (plan.Algorithm, trial.Shortest);
            }

            trial.Dispose();
        }

        plan.Algorithm = best;
        return Of(DenseBlas, () => weights.ForEach(weight => weight.Dispose()));

        Contestant Of(string name, Action release)
            => new(name, weights[0].Bytes, copies, copy => plan.Multiply(run, weights[copy].Address, halves.Address, output.Address), release);
    }

    private Contestant SparseLibrary(DeviceRun run, PrefillLibraries libraries, int rows, int columns, int batch)
    {
        var inputs = (batch + SparseLtPlan.InputMultiple - 1) / SparseLtPlan.InputMultiple * SparseLtPlan.InputMultiple;
        var padded = run.Device.Allocate((long)inputs * columns * sizeof(ushort));
        padded.Fill(0x3C, run.Stream);
        var result = run.Device.Allocate((long)inputs * rows * sizeof(ushort));
        var plan = libraries.Sparse(rows, columns, inputs, TensorElementType.BFloat16);
        var weights = new List<DeviceMemory> { Synthetic.Compressed(run, plan, rows, columns) };
        var copies = CopiesOf(run, weights[0].Bytes);
        while (weights.Count < copies)
        {
            var copy = run.Device.Allocate(weights[0].Bytes);
            copy.CopyFrom(weights[0], copy.Bytes, run.Stream);
            weights.Add(copy);
        }

        return new Contestant(
            "2:4, cuSPARSELt", weights[0].Bytes, copies, copy => plan.Multiply(run, weights[copy], padded.Address, result.Address), () =>
            {
                weights.ForEach(weight => weight.Dispose());
                padded.Dispose();
                result.Dispose();
            });
    }

    private static Contestant MakeLayer(DeviceRun run, PrefillLibraries libraries, int rows, int columns, int batch, DeviceMemory input, DeviceMemory output)
    {
        var own = Synthetic.Core(run, rows, columns, Block, TensorElementType.BFloat16, false);
        var bytes = own.Bytes;
        var product = new LibraryProduct(run, libraries, own);
        return new Contestant(LayerOfLibraries, bytes, 1, _ => product.Multiply(run, input.Address, batch, output.Address), own.Dispose);
    }
}
