using System.Diagnostics;
using Armor.Benchmarks.Pruning;
using Armor.Core.Calibration;
using Armor.Core.Pruning;

int size = int.Parse(args[0]);
int block = int.Parse(args[1]);
(TorchSharp.torch.Tensor weight, TorchSharp.torch.Tensor h) = SyntheticWeight.Create(size, size, 3);
using ActivationStatistics statistics = ActivationStatistics.FromDiagonal(h, 1000);
StageLoss kind = StageLoss.NormalizedDiagonal;
foreach ((int anneal, int polish) in new[] { (0, 30), (40, 12), (100, 60) })
{
    ArmorPrunerOptions options = ArmorPrunerOptions.Balanced with { BlockSize = block, Stages = [new PruningStage { Loss = kind, AnnealingCycles = anneal, PolishCycles = polish }] };
    long started = Stopwatch.GetTimestamp();
    PrunedWeight pruned = ArmorPruner.Create(options).Prune(weight, statistics, progress: new Trace(started, args.Length > 2));
    Console.WriteLine($"{anneal}+{polish}: start {pruned.StartLoss:f4} end {pruned.Loss:f5} {pruned.Elapsed.TotalSeconds:f2} s, {pruned.Cycles} cycles");
}

ArmorPrunerOptions paper = ArmorPrunerOptions.Paper with { BlockSize = block, LearningRate = 1e-3, Stages = [ArmorPrunerOptions.Paper.Stages[0] with { PolishCycles = 1000 }] };
PrunedWeight p = ArmorPruner.Create(paper).Prune(weight, statistics);
Console.WriteLine($"paper 1000: start {p.StartLoss:f4} end {p.Loss:f5} {p.Elapsed.TotalSeconds:f2} s, {p.Cycles} cycles");
return 0;

internal sealed class Trace(long started, bool on) : IProgress<PruningProgress>
{
    public void Report(PruningProgress value)
    {
        if (on && value.Cycle % 5 == 0)
        {
            Console.WriteLine($"  {value.Cycle} {value.Loss:f5} {Stopwatch.GetElapsedTime(started).TotalSeconds:f3}");
        }
    }
}
