using System.Diagnostics;
using Armor.Core.Pruning;

namespace Armor.Benchmarks.Pruning;

/// <summary>The shortest time from one report of a cycle to the next.</summary>
/// <param name="threads">On one thread processor time counts, so that other work on the machine matters little.</param>
internal sealed class Laps(int threads) : IProgress<PruningProgress>
{
    private readonly Func<double> clock = Clock(threads);
    private double last = double.NaN;

    /// <summary>Seconds.</summary>
    public double Least { get; private set; } = double.PositiveInfinity;

    /// <summary>Seconds of the clock by which work on so many threads is measured.</summary>
    public static Func<double> Clock(int threads) => threads == 1
        ? () => Environment.CpuUsage.TotalTime.TotalSeconds
        : () => Stopwatch.GetTimestamp() / (double)Stopwatch.Frequency;

    /// <inheritdoc/>
    public void Report(PruningProgress value)
    {
        double now = clock();
        if (now - last < Least)
        {
            Least = now - last;
        }

        last = now;
    }
}
