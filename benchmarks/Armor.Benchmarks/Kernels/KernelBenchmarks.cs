using BenchmarkDotNet.Attributes;

namespace Armor.Benchmarks.Kernels;

/// <summary>
/// The contestants of <see cref="KernelTable"/> under BenchmarkDotNet, one after another in one process.
/// </summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(10)]
public class KernelBenchmarks
{
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

    /// <summary>Whose product.</summary>
    [ParamsSource(nameof(Names))]
    public string Contestant { get; set; } = string.Empty;

    /// <summary>Everybody.</summary>
    public static IEnumerable<string> Names => ContestantKind.All.Select(kind => kind.Name);

    /// <summary>Makes the weights and checks the product.</summary>
    [GlobalSetup]
    public void Make()
    {
        int[] sizes = [.. Shape.Split('x').Select(int.Parse)];
        var weight = new KernelCase(sizes[0], sizes[1]);
        ContestantKind kind = ContestantKind.All.Single(kind => kind.Name == Contestant);
        contestant = ContestantKind.MakeAll([kind], weight, Threads)[kind];
        contestant.Begin(weight.Values((long)Batch * weight.Columns), Batch);
        next = 0;
    }

    /// <summary>One product, by the next copy of the weight.</summary>
    [Benchmark]
    public void Multiply()
    {
        contestant!.Multiply(next);
        next = (next + 1) % contestant.Copies;
    }

    /// <summary>Lets the weights go.</summary>
    [GlobalCleanup]
    public void Dispose() => contestant!.Dispose();
}
