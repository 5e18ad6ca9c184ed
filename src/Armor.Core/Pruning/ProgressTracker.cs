using System.Diagnostics;
using Armor.Runtime.Models;

namespace Armor.Core.Pruning;

/// <summary>Turns what a run does into progress records, with an estimate of the time left in proportion to the weights left.</summary>
internal sealed class ProgressTracker(
    IProgress<ModelPruningProgress>? progress,
    Stopwatch clock,
    IReadOnlyList<LinearDescription> layerLinears,
    int count) : IProgress<double>
{
    private readonly long totalWeights = layerLinears.Sum(Weights) * (count / layerLinears.Count);
    private string current = string.Empty;
    private int finished;
    private long finishedWeights;
    private long ownWeights;
    private TimeSpan? ownStart;

    /// <summary>Work on no linear in particular is about to begin.</summary>
    /// <param name="what">The work.</param>
    public void Announce(string what)
    {
        current = what;
        Send(null, isFinished: false, resumed: false);
    }

    /// <summary>A linear is about to be pruned.</summary>
    /// <param name="name">The linear.</param>
    public void Begin(string name)
    {
        current = name;
        ownStart ??= clock.Elapsed;
        Send(null, isFinished: false, resumed: false);
    }

    /// <summary>The current linear's loss so far.</summary>
    /// <param name="value">The loss.</param>
    public void Report(double value) => Send(value, isFinished: false, resumed: false);

    /// <summary>A linear is finished and on disk.</summary>
    /// <param name="name">The linear.</param>
    /// <param name="linear">Its sizes.</param>
    /// <param name="report">How it went.</param>
    /// <param name="resumed">True where an earlier run had finished it.</param>
    public void Finish(string name, LinearDescription linear, LinearPruningReport report, bool resumed)
    {
        current = name;
        finished++;
        finishedWeights += Weights(linear);
        ownWeights += resumed ? 0 : Weights(linear);
        Send(report.Loss, isFinished: true, resumed);
    }

    private static long Weights(LinearDescription linear) => (long)linear.Rows * linear.Columns;

    private void Send(double? loss, bool isFinished, bool resumed)
    {
        if (progress is null)
        {
            return;
        }

        TimeSpan elapsed = clock.Elapsed;
        TimeSpan? remaining = ownWeights == 0 || ownStart is null
            ? null
            : (elapsed - ownStart.Value) * ((double)(totalWeights - finishedWeights) / ownWeights);
        progress.Report(new ModelPruningProgress(current, finished, count, loss, isFinished, resumed, elapsed, remaining));
    }
}
