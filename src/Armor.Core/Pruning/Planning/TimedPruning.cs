using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Allocation;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Planning;

/// <summary>
/// How long one weight takes, from short runs on fewer rows and cycles: everything but the systems of d_in alone is in proportion to the rows, and all
/// cycles of a stage take alike.
/// </summary>
internal static class TimedPruning
{
    private const int Cycles = 2;
    private const int StatisticTokens = 512;
    private const double LargestWork = 6e9;

    // After annealing little is left to gain: a polish that may stop early does so about as soon as it may. A rejected extrapolation makes a cycle
    // twice. Measured as means over the linears of three models.
    private const double BeyondPatience = 1.3;
    private const double MomentumRepeats = 1.07;

    /// <summary>Seconds for one weight of a shape.</summary>
    /// <param name="options">How it is pruned.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <param name="moments">What its statistics have.</param>
    /// <param name="cancellationToken">Stops the measurement.</param>
    /// <returns>Seconds to prune it, and of one trial of other wrappers.</returns>
    public static (double Pruning, double Trial) Seconds(
        ArmorPrunerOptions options, int rows, int columns, ActivationMoments moments, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        BlockSizes sizes = options.Method == PruningMethod.Armor ? BlockSizes.For(options, rows, columns) : default;
        int block = Math.Max(sizes.Output ?? 1, sizes.Input ?? 1);
        PruningStage[] stages = StagesOf(options);
        ArmorPrunerOptions brief = options with
        {
            BlockSize = options.Method == PruningMethod.Armor ? block : options.BlockSize,
            CrossTarget = false,
            Stages = [.. options.Stages.Select(Brief)],
            Dense24Stage = Brief(options.Dense24Stage),
        };

        int many = Math.Max(2 * block, (int)Math.Min(rows, LargestWork / ((double)columns * columns)) / block * block);
        ActivationStatistics statistics = Statistics(columns, moments);
        try
        {
            double[] parts = Measure(brief, stages.Length, Math.Min(rows, many), statistics, cancellationToken);
            if (many < rows)
            {
                double[] small = Measure(brief, stages.Length, many / 2, statistics, cancellationToken);
                double growth = (rows - many) / (many / 2.0);
                parts = [.. parts.Zip(small, (l, s) => l + (Math.Max(0, l - s) * growth))];
            }

            return (Total(parts, stages) + TargetSeconds(options, rows, columns, moments), Total(parts, StagesOf(BlockTrials.Brief(options))));
        }
        finally
        {
            statistics.Dispose();
        }
    }

    private static PruningStage[] StagesOf(ArmorPrunerOptions options) => options.Method switch
    {
        PruningMethod.Armor => [.. options.Stages],
        PruningMethod.Dense24 => [options.Dense24Stage],
        _ => [],
    };

    private static PruningStage Brief(PruningStage stage) => stage with
    {
        WarmUpCycles = 0,
        AnnealingCycles = stage.WarmUpCycles + stage.AnnealingCycles > 0 ? Cycles : 0,
        PolishCycles = stage.PolishCycles > 0 || stage.WarmUpCycles + stage.AnnealingCycles == 0 ? Cycles : 0,
        EarlyStopping = null,
        Momentum = null,
    };

    private static double Total(double[] parts, PruningStage[] stages)
    {
        double seconds = parts[^1];
        for (int stage = 0; stage < stages.Length; stage++)
        {
            PruningStage own = stages[stage];
            double polish = own.EarlyStopping is { } stopping ? Math.Min(own.PolishCycles, stopping.Patience * BeyondPatience) : own.PolishCycles;
            double repeats = own.Momentum is null ? 1 : MomentumRepeats;
            seconds += parts[stage] * (own.WarmUpCycles + own.AnnealingCycles + (polish * repeats));
        }

        return seconds;
    }

    // Seconds of a cycle of each stage, and last of all else.
    private static double[] Measure(ArmorPrunerOptions options, int stages, int rows, ActivationStatistics statistics, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        Tensor weight = randn([rows, statistics.Dimension], float32, generator: generator);
        using GradientStatistics? gradients = options.UsesGradients
            ? new GradientStatistics([.. GradientStatistics.BlocksOf(rows).Select(part => eye(part.Count))], 1)
            : null;
        double[] best = [.. Enumerable.Repeat(double.PositiveInfinity, stages + 1)];
        var budget = Stopwatch.StartNew();
        for (int repeat = 0; repeat < 3 && (repeat == 0 || budget.Elapsed.TotalSeconds < 0.5); repeat++)
        {
            var marks = new Marks();
            ArmorPruner.Create(options).Prune(weight, statistics, "measurement", gradients, progress: marks, cancellationToken: cancellationToken);
            double total = marks.Total;
            double cycles = 0;
            for (int stage = 0; stage < stages; stage++)
            {
                double cycle = marks.CycleSeconds(stage);
                best[stage] = Math.Min(best[stage], cycle);
                cycles += cycle * marks.CyclesOf(stage);
            }

            best[stages] = Math.Min(best[stages], Math.Max(0, total - cycles));
        }

        return best;
    }

    // W·(C + δI)·(H + δI)⁻¹ in float64: a Cholesky, two triangular solves and a product.
    private static double TargetSeconds(ArmorPrunerOptions options, int rows, int columns, ActivationMoments moments)
    {
        if (!options.CrossTarget || !moments.HasFlag(ActivationMoments.CrossMoment))
        {
            return 0;
        }

        double operations = ((double)columns * columns * columns / 3) + (4.0 * rows * columns * columns);
        return operations / ProductRate();
    }

    private static double ProductRate()
    {
        const int Size = 768;
        using var scope = NewDisposeScope();
        Tensor a = ones([Size, Size], float64);
        double best = double.PositiveInfinity;
        for (int repeat = 0; repeat < 5; repeat++)
        {
            var stopwatch = Stopwatch.StartNew();
            a.matmul(a);
            best = Math.Min(best, stopwatch.Elapsed.TotalSeconds);
        }

        return 2.0 * Size * Size * Size / best;
    }

    private static ActivationStatistics Statistics(int columns, ActivationMoments moments)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(2);
        using var accumulator = new ActivationAccumulator("measurement", columns, moments & ~ActivationMoments.CrossMoment);
        accumulator.Add(randn([StatisticTokens, columns], float32, generator: generator));
        return accumulator.Take();
    }

    private sealed class Marks : IProgress<PruningProgress>
    {
        private readonly Stopwatch clock = Stopwatch.StartNew();
        private readonly List<(int Stage, double At)> marks = [];

        public double Total => clock.Elapsed.TotalSeconds;

        public void Report(PruningProgress value) => marks.Add((value.Stage, clock.Elapsed.TotalSeconds));

        public int CyclesOf(int stage) => marks.Count(mark => mark.Stage == stage);

        // The first cycle of a stage also holds what the stage prepares.
        public double CycleSeconds(int stage)
        {
            double[] times = [.. marks.Where(mark => mark.Stage == stage).Select(mark => mark.At)];
            return times.Length < 2 ? 0 : times.Zip(times.Skip(1), (a, b) => b - a).Min();
        }
    }
}
