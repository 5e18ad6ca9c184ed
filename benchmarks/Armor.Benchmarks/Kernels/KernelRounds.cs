using System.Diagnostics;
using Armor.Cli.Measuring;

namespace Armor.Benchmarks.Kernels;

/// <summary>
/// Times contestants at one batch, in rounds in which everybody has a turn between two readings of the memory: what happens on the machine happens to
/// all of them, and ratios of one round mean something.
/// </summary>
internal sealed class KernelRounds
{
    private const int FewestRounds = 3;
    private const int MostRounds = 1000;

    /// <summary>Threads of other libraries spin for a while after their work.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly Dictionary<ContestantKind, (List<double> Microseconds, List<double> Fractions)> turns;

    private KernelRounds(int batch, IEnumerable<ContestantKind> kinds)
    {
        Batch = batch;
        turns = kinds.ToDictionary(kind => kind, _ => (new List<double>(), new List<double>()));
    }

    /// <summary>Number of inputs.</summary>
    public int Batch { get; }

    /// <summary>How often everybody had a turn.</summary>
    public int Count => turns.Values.First().Microseconds.Count;

    /// <summary>Measures.</summary>
    /// <param name="contestants">Who takes part.</param>
    /// <param name="input">[batch, columns].</param>
    /// <param name="batch">Number of inputs.</param>
    /// <param name="probe">Reads memory with as many threads as contestants have.</param>
    /// <param name="seconds">How long, all together.</param>
    public static KernelRounds Measure(
        IReadOnlyDictionary<ContestantKind, Contestant> contestants, float[] input, int batch, BandwidthProbe probe, double seconds)
    {
        ContestantKind[] kinds = [.. contestants.Keys];
        var rounds = new KernelRounds(batch, kinds);
        long begin = Stopwatch.GetTimestamp();
        Dictionary<ContestantKind, ContestantTurn> turns = contestants.ToDictionary(entry => entry.Key, entry => new ContestantTurn(entry.Value, input, batch));
        for (int round = 0; round < MostRounds && (round < FewestRounds || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds); round++)
        {
            for (int place = 0; place < kinds.Length; place++)
            {
                // Another one begins each round.
                ContestantKind kind = kinds[(place + round) % kinds.Length];
                Thread.Sleep(Pause);
                double before = probe.Measure();
                double microseconds = turns[kind].Run();
                double bandwidth = Math.Max(before, probe.Measure());
                rounds.turns[kind].Microseconds.Add(microseconds);
                rounds.turns[kind].Fractions.Add(contestants[kind].Bytes / microseconds / 1e3 / bandwidth);
            }
        }

        return rounds;
    }

    /// <summary>The shortest time of a product.</summary>
    public double Least(ContestantKind kind) => turns[kind].Microseconds.Min();

    /// <summary>The median time of a product.</summary>
    public double Median(ContestantKind kind) => Median(turns[kind].Microseconds);

    /// <summary>The median of a turn's share of the larger of the bandwidths that were read just before and after it.</summary>
    public double FractionOfBandwidth(ContestantKind kind) => Median(turns[kind].Fractions);

    /// <summary>How many times as long one takes as another: the median of the rounds' ratios; none where one did not take part.</summary>
    public double? Ratio(ContestantKind one, ContestantKind other) =>
        turns.TryGetValue(one, out var first) && turns.TryGetValue(other, out var second)
            ? Median(first.Microseconds.Zip(second.Microseconds, (time, otherTime) => time / otherTime))
            : null;

    /// <summary>Whether it took part.</summary>
    public bool Has(ContestantKind kind) => turns.ContainsKey(kind);

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }
}
