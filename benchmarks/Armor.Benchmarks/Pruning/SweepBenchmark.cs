using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using BenchmarkDotNet.Attributes;
using TorchSharp;

namespace Armor.Benchmarks.Pruning;

/// <summary>One exact sweep of a square weight, beside the float32 product that does as many operations (10·d_out·d_in·b) in the same run.</summary>
[MemoryDiagnoser]
public class SweepBenchmark
{
    private ArmorFactorization factorization = null!;
    private StepContext context = null!;
    private DiagonalLoss loss = null!;
    private torch.Tensor left = null!;
    private torch.Tensor right = null!;

    /// <summary>The weight's size.</summary>
    [Params(1024, 4096)]
    public int Size { get; set; }

    /// <summary>The block size.</summary>
    [Params(32, 128)]
    public int Block { get; set; }

    /// <summary>Makes the weight.</summary>
    [GlobalSetup]
    public void Setup()
    {
        (torch.Tensor weight, torch.Tensor meanSquares) = SyntheticWeight.Create(Size, Size, 3);
        torch.Tensor identity = torch.eye(Block).unsqueeze(0).repeat(Size / Block, 1, 1);
        torch.Tensor mask = torch.tensor(new float[] { 1, 0, 0, 1 }).repeat(Size / 4);
        factorization = new ArmorFactorization(weight * mask, identity.clone(), identity);
        loss = new DiagonalLoss(meanSquares);
        context = new StepContext(weight, loss);

        // [Size, 5·Block] × [5·Block, Size] has 10·Size²·Block operations.
        left = torch.rand(Size, 5 * Block);
        right = torch.rand(5 * Block, Size);
    }

    /// <summary>The product of as many operations.</summary>
    [Benchmark(Baseline = true)]
    public void MatrixProduct() => left.matmul(right).Dispose();

    /// <summary>The sweep.</summary>
    [Benchmark]
    public void Sweep() => new ExactSweep().Step(factorization, context);
}
