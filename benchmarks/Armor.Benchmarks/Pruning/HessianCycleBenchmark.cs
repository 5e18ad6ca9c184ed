using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using TorchSharp;

namespace Armor.Benchmarks.Pruning;

/// <summary>
/// What a cycle under the full Hessian costs with and without weights on the outputs, on the shapes of the embedded model and on a large weight. The two
/// take turns, and the shortest of all cycles counts.
/// </summary>
internal static class HessianCycleBenchmark
{
    // Weight entries that a measurement goes over.
    private const double Work = 2e7;

    private static readonly (int Rows, int Columns, int Block)[] Shapes =
        [(128, 256, 4), (256, 256, 8), (512, 256, 8), (256, 512, 8), (768, 768, 24), (1024, 1024, 32), (2048, 2048, 64), (4096, 4096, 128)];

    /// <summary>Prints the table, a line as soon as it is measured.</summary>
    /// <param name="arguments">[threads] [most rows] [least rows]</param>
    public static int Run(string[] arguments)
    {
        int threads = arguments.Length > 0 ? int.Parse(arguments[0]) : Environment.ProcessorCount;
        int most = arguments.Length > 1 ? int.Parse(arguments[1]) : int.MaxValue;
        int least = arguments.Length > 2 ? int.Parse(arguments[2]) : 0;
        torch.set_num_threads(threads);
        Console.WriteLine(Machine.Describe(threads));
        Console.WriteLine();
        Console.WriteLine("| weight | block | full Hessian: ms | with gradients: ms | ratio |");
        Console.WriteLine("| --- | --- | --- | --- | --- |");
        foreach ((int rows, int columns, int block) in Shapes.Where(shape => shape.Rows <= most && shape.Rows >= least))
        {
            (double plain, double weighted) = Measure(rows, columns, block, threads);
            Console.WriteLine($"| {rows} × {columns} | {block} | {plain * 1e3:f1} | {weighted * 1e3:f1} | {weighted / plain:f2} |");
        }

        return 0;
    }

    private static (double Plain, double Weighted) Measure(int rows, int columns, int block, int threads)
    {
        using var scope = torch.NewDisposeScope();
        using var noGradient = torch.no_grad();
        (torch.Tensor weight, _) = SyntheticWeight.Create(rows, columns, 3);
        using ActivationStatistics statistics = ActivationStatistics.FromInputs(Correlated(columns, 4));
        torch.Tensor outputs = Correlated(rows, 5);
        using var gradients = GradientStatistics.FromMoment(outputs.t().matmul(outputs) / outputs.shape[0], outputs.shape[0]);
        int cycles = (int)Math.Clamp(Work / ((double)rows * columns), 3, 60);
        var options = ArmorPrunerOptions.Balanced with
        {
            BlockSize = block,
            Stages = [new PruningStage { Loss = StageLoss.FullHessian, AnnealingCycles = cycles }],
            MaxDegreeOfParallelism = threads,
        };
        double[] least = [double.PositiveInfinity, double.PositiveInfinity];
        int rounds = rows < 2048 ? 3 : 1;
        for (int round = 0; round < rounds * 2; round++)
        {
            var laps = new Laps(threads);
            ArmorPruner.Create(options).Prune(weight, statistics, gradients: round % 2 == 0 ? null : gradients, progress: laps);
            least[round % 2] = Math.Min(least[round % 2], laps.Least);
        }

        return (least[0], least[1]);
    }

    // Inputs with a decaying spectrum, twice as many as there are dimensions.
    private static torch.Tensor Correlated(int dimension, ulong seed)
    {
        using var scope = torch.NewDisposeScope();
        using var generator = new torch.Generator(seed);
        torch.Tensor mix = torch.randn(dimension, dimension, generator: generator) / Math.Sqrt(dimension);
        torch.Tensor scale = torch.arange(1, dimension + 1, dtype: torch.float32).pow(-0.3);
        return (torch.randn(2 * dimension, dimension, generator: generator) * scale).matmul(mix).MoveToOuterDisposeScope();
    }
}
