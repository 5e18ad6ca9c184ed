using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using TorchSharp;

namespace Armor.Benchmarks.Pruning;

/// <summary>
/// How long the default optimiser takes to the loss at which the paper's ends: same objective (normalised diagonal), same weight, same start, same
/// process, one thread.
/// </summary>
internal static class ConvergenceBenchmark
{
    private static readonly (int Size, int Block)[] Cases = [(256, 16), (512, 16), (1024, 32)];

    public static int Run(string[] arguments)
    {
        int cases = arguments.Length > 0 ? int.Parse(arguments[0]) : Cases.Length;
        torch.set_num_threads(1);
        Console.WriteLine(Machine.Describe(1));
        Console.WriteLine();
        Console.WriteLine("| weight | block | NoWag-P | paper: loss | iterations | seconds | default: seconds to that loss | ratio | default: loss at the end | seconds |");
        Console.WriteLine("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        Prune(64, 8, ArmorPrunerOptions.Fast with { MaxDegreeOfParallelism = 1 }); // warm-up
        foreach ((int size, int block) in Cases.Take(cases))
        {
            (PrunedWeight paper, _) = Prune(size, block, ArmorPrunerOptions.Paper);
            ArmorPrunerOptions ours = ArmorPrunerOptions.Balanced with
            {
                Stages = [ArmorPrunerOptions.Balanced.Stages[0] with { Loss = StageLoss.NormalizedDiagonal }],
                MaxDegreeOfParallelism = 1,
            };
            (PrunedWeight balanced, Trace trace) = Prune(size, block, ours);
            double reached = trace.SecondsTo(paper.Loss);
            Console.WriteLine(
                $"| {size} × {size} | {block} | {paper.StartLoss:f4} | {paper.Loss:f4} | {paper.Cycles} | {paper.Elapsed.TotalSeconds:f1} | " +
                $"{reached:f3} | {paper.Elapsed.TotalSeconds / reached:f0} | {balanced.Loss:f4} | {balanced.Elapsed.TotalSeconds:f2} |");
        }

        return 0;
    }

    private static (PrunedWeight Result, Trace Trace) Prune(int size, int block, ArmorPrunerOptions options)
    {
        using var scope = torch.NewDisposeScope();
        (torch.Tensor weight, torch.Tensor meanSquares) = SyntheticWeight.Create(size, size, 3);
        using ActivationStatistics statistics = ActivationStatistics.FromDiagonal(meanSquares, 1000);
        var trace = new Trace();
        return (ArmorPruner.Create(options with { BlockSize = block }).Prune(weight, statistics, progress: trace), trace);
    }

    private sealed class Trace : IProgress<PruningProgress>
    {
        private readonly long started = Stopwatch.GetTimestamp();
        private readonly List<(double Seconds, double Loss)> points = [];

        public void Report(PruningProgress value) => points.Add((Stopwatch.GetElapsedTime(started).TotalSeconds, value.Loss));

        public double SecondsTo(double loss) =>
            points.Where(point => point.Loss <= loss).Select(point => point.Seconds).DefaultIfEmpty(double.PositiveInfinity).First();
    }
}
