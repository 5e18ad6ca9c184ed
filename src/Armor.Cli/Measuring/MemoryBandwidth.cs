using System.Diagnostics;

namespace Armor.Cli.Measuring;

/// <summary>How fast the machine reads from its memory.</summary>
/// <param name="Threads">Number of threads that read at the same time.</param>
/// <param name="GigabytesPerSecond">What all of them read together at best, 10⁹ bytes a second.</param>
internal sealed record MemoryBandwidth(int Threads, double GigabytesPerSecond)
{
    private const int FewestPasses = 3;

    /// <summary>Measures; takes as long as told and a little more.</summary>
    /// <param name="threads">Number of threads.</param>
    /// <param name="seconds">How long passes are repeated; the fastest counts.</param>
    /// <param name="cancellationToken">Checked between passes.</param>
    internal static MemoryBandwidth Measure(int threads, double seconds, CancellationToken cancellationToken)
    {
        using var probe = new BandwidthProbe(threads);
        long begin = Stopwatch.GetTimestamp();
        for (int passes = 0; passes < FewestPasses || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds; passes++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            probe.Measure();
        }

        return new MemoryBandwidth(threads, probe.Best);
    }
}
