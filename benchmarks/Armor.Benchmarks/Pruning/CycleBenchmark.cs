using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;

namespace Armor.Benchmarks.Pruning;

/// <summary>
/// What one annealing cycle and its exact sweep cost over sizes and blocks, beside float32 matrix products of as many operations in the same run:
/// a cycle has 22·d_out·d_in·b, its sweep 10·d_out·d_in·b. On one thread processor time counts, so that other work on the machine matters little.
/// </summary>
internal static class CycleBenchmark
{
    private const double CycleOperations = 22;
    private const double SweepOperations = 10;

    private static readonly int[] Sizes = [512, 1024, 2048, 4096];
    private static readonly int[] Blocks = [8, 16, 32, 64, 128];

    /// <summary>Prints the table, a line as soon as it is measured.</summary>
    /// <param name="arguments">[threads] [sizes ...]</param>
    public static int Run(string[] arguments)
    {
        int threads = arguments.Length > 0 ? int.Parse(arguments[0]) : Environment.ProcessorCount;
        int[] sizes = arguments.Length > 1 ? [.. arguments.Skip(1).Select(int.Parse)] : Sizes;
        torch.set_num_threads(threads);
        Console.WriteLine(Machine.Describe(threads));
        Console.WriteLine();
        Console.WriteLine("| size | block | cycle: ms | of the product's rate | sweep: ms | ns a group and thread | of the product's rate | cycle: ps a d_out·d_in·b |");
        Console.WriteLine("| --- | --- | --- | --- | --- | --- | --- | --- |");
        Measure(256, 8, threads); // warm-up
        foreach (int size in sizes)
        {
            foreach (int block in Blocks)
            {
                Point point = Measure(size, block, threads);
                double work = (double)size * size * block;
                Console.WriteLine(
                    $"| {size} | {block} | {point.Cycle * 1e3:f1} | {point.Product * CycleOperations / SweepOperations / point.Cycle:p0} | " +
                    $"{point.Sweep * 1e3:f1} | {point.Sweep * 4e9 * threads / size / size:f0} | {point.Product / point.Sweep:p0} | {point.Cycle * 1e12 / work:f0} |");
            }
        }

        return 0;
    }

    private static Point Measure(int size, int block, int threads)
    {
        using var scope = torch.NewDisposeScope();
        using var noGradient = torch.no_grad();
        (torch.Tensor weight, torch.Tensor meanSquares) = SyntheticWeight.Create(size, size, 3);
        int repeats = (int)Math.Clamp(1e10 / ((double)size * size * block), 5, 50);
        using ActivationStatistics statistics = ActivationStatistics.FromDiagonal(meanSquares, 1000);
        Func<double> clock = Laps.Clock(threads);
        var cycles = new Laps(threads);
        ArmorPruner.Create(ArmorPrunerOptions.Balanced with
        {
            BlockSize = block,
            Stages = [new PruningStage { Loss = StageLoss.Diagonal, AnnealingCycles = repeats + 1 }],
            MaxDegreeOfParallelism = threads,
        }).Prune(weight, statistics, progress: cycles);

        torch.Tensor identity = torch.eye(block).unsqueeze(0).repeat(size / block, 1, 1);
        torch.Tensor mask = torch.tensor(new float[] { 1, 0, 0, 1 }).repeat(size / 4);
        using var factorization = new ArmorFactorization(weight * mask, identity.clone(), identity);
        using var loss = new DiagonalLoss(meanSquares);
        using var sweep = new ExactSweep();
        var context = new StepContext(weight, loss) { MaxDegreeOfParallelism = threads, Noise = new AnnealingNoise(0.2f, 1e-4f) };

        // [size, 5·block] × [5·block, size] has 10·size²·block operations.
        torch.Tensor left = torch.rand(size, 5 * block);
        torch.Tensor right = torch.rand(5 * block, size);
        return new Point(
            cycles.Least, Least(() => sweep.Step(factorization, context), repeats, clock),
            Least(() => left.matmul(right).Dispose(), repeats, clock));
    }

    // Short actions go in batches: the clock of processor time is coarse.
    private static double Least(Action action, int repeats, Func<double> clock)
    {
        double once = Seconds(1);
        int batch = (int)Math.Clamp(0.02 / Math.Max(once, 1e-6), 1, 1000);
        return Enumerable.Range(0, repeats).Min(_ => Seconds(batch));

        double Seconds(int count)
        {
            double started = clock();
            for (int i = 0; i < count; i++)
            {
                action();
            }

            return (clock() - started) / count;
        }
    }

    private sealed record Point(double Cycle, double Sweep, double Product);
}
