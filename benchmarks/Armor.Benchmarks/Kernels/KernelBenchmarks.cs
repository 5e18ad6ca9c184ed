using BenchmarkDotNet.Attributes;

namespace Armor.Benchmarks.Kernels;

/// <summary>
/// The contestants of <see cref="KernelTable"/> under BenchmarkDotNet, in one process. Each is made where it is first called, which is before anything is
/// timed, and let go after its turn.
/// </summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(10)]
public class KernelBenchmarks
{
    private KernelCase? weight;
    private Contestant? contestant;
    private int next;

    /// <summary>Rows × columns.</summary>
    [Params("4096x4096", "11008x4096")]
    public string Shape { get; set; } = string.Empty;

    /// <summary>Number of inputs.</summary>
    [Params(1, 4, 16, 64, 512)]
    public int Batch { get; set; }

    /// <summary>Number of threads, the same for everybody.</summary>
    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    /// <summary>One, and one a processor.</summary>
    public static IEnumerable<int> ThreadCounts => new[] { 1, Environment.ProcessorCount }.Distinct();

    [Benchmark(Baseline = true)]
    public void TorchSharpFloat32() => Multiply(ContestantKind.TorchSingle);

    [Benchmark]
    public void TorchSharpBFloat16() => Multiply(ContestantKind.TorchBFloat);

    [Benchmark]
    public void OnnxRuntimeFloat32() => Multiply(ContestantKind.OnnxRuntime);

    [Benchmark]
    public void TensorPrimitivesFloat32() => Multiply(ContestantKind.TensorPrimitives);

    [Benchmark]
    public void DenseFloat32() => Multiply(ContestantKind.DenseSingle);

    [Benchmark]
    public void DenseBFloat16() => Multiply(ContestantKind.DenseBFloat);

    [Benchmark]
    public void CoreFloat32() => Multiply(ContestantKind.CoreSingle);

    [Benchmark]
    public void CoreBFloat16() => Multiply(ContestantKind.CoreBFloat);

    [Benchmark]
    public void CoreInt8() => Multiply(ContestantKind.CoreInt8);

    [Benchmark]
    public void LayerFloat32() => Multiply(ContestantKind.LayerSingle);

    [Benchmark]
    public void LayerBFloat16() => Multiply(ContestantKind.LayerBFloat);

    [Benchmark]
    public void LayerInt8() => Multiply(ContestantKind.LayerInt8);

    [GlobalCleanup]
    public void Cleanup()
    {
        contestant?.Dispose();
        contestant = null;
    }

    private void Multiply(ContestantKind kind)
    {
        contestant ??= Make(kind);
        contestant.Multiply(next);
        next = (next + 1) % contestant.Copies;
    }

    private Contestant Make(ContestantKind kind)
    {
        if (weight is null)
        {
            int[] sizes = [.. Shape.Split('x').Select(int.Parse)];
            weight = new KernelCase(sizes[0], sizes[1]);
        }

        Contestant made = ContestantKind.MakeAll([kind], weight, Threads)[kind];
        made.Begin(weight.Values((long)Batch * weight.Columns), Batch);
        next = 0;
        return made;
    }
}
