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

    private const int TrainedBlock = 16;

    /// <summary>Runs it.</summary>
    /// <param name="arguments">The number of synthetic cases (all where absent), or <c>trained MODEL TEXT</c> for weights of a model.</param>
    public static int Run(string[] arguments)
    {
        torch.set_num_threads(1);
        Console.WriteLine(Machine.Describe(1));
        Console.WriteLine();
        Console.WriteLine("| weight | block | NoWag-P | paper: loss | iterations | seconds | default: seconds to that loss | ratio | default: loss at the end | seconds |");
        Console.WriteLine("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        using var scope = torch.NewDisposeScope();
        (torch.Tensor first, torch.Tensor ones) = SyntheticWeight.Create(64, 64, 3);
        Prune(first, ones, 8, ArmorPrunerOptions.Fast with { MaxDegreeOfParallelism = 1 }); // warm-up
        if (arguments is ["trained", var model, var text])
        {
            foreach ((string name, torch.Tensor weight, torch.Tensor meanSquares) in TrainedWeights.Load(model, text))
            {
                Compare($"{name}, {weight.shape[0]} × {weight.shape[1]}", weight, meanSquares, TrainedBlock);
                weight.Dispose();
                meanSquares.Dispose();
            }

            return 0;
        }

        foreach ((int size, int block) in Cases.Take(arguments.Length > 0 ? int.Parse(arguments[0]) : Cases.Length))
        {
            (torch.Tensor weight, torch.Tensor meanSquares) = SyntheticWeight.Create(size, size, 3);
            Compare($"{size} × {size}", weight, meanSquares, block);
        }

        return 0;
    }

    private static void Compare(string name, torch.Tensor weight, torch.Tensor meanSquares, int block)
    {
        (PrunedWeight paper, _) = Prune(weight, meanSquares, block, ArmorPrunerOptions.Paper);
        ArmorPrunerOptions ours = ArmorPrunerOptions.Balanced with
        {
            Stages = [ArmorPrunerOptions.Balanced.Stages[0] with { Loss = StageLoss.NormalizedDiagonal }],
            MaxDegreeOfParallelism = 1,
        };
        (PrunedWeight balanced, Trace trace) = Prune(weight, meanSquares, block, ours);
        double reached = trace.SecondsTo(paper.Loss);
        Console.WriteLine(
            $"| {name} | {block} | {paper.StartLoss:f4} | {paper.Loss:f4} | {paper.Cycles} | {paper.Elapsed.TotalSeconds:f1} | " +
            $"{reached:f3} | {paper.Elapsed.TotalSeconds / reached:f0} | {balanced.Loss:f4} | {balanced.Elapsed.TotalSeconds:f2} |");
    }

    private static (PrunedWeight Result, Trace Trace) Prune(torch.Tensor weight, torch.Tensor meanSquares, int block, ArmorPrunerOptions options)
    {
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
