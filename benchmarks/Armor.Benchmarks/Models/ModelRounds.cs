using System.Diagnostics;
using Armor.Cli.Measuring;

namespace Armor.Benchmarks.Models;

/// <summary>
/// Times models that are in memory at the same time, in rounds in which everybody has a turn between two readings of the memory: what happens on the
/// machine happens to all of them, and ratios of one round mean something.
/// </summary>
internal sealed class ModelRounds
{
    private const int FewestRounds = 3;

    /// <summary>Tokens of a turn of decoding.</summary>
    private const int TurnTokens = 6;

    /// <summary>Threads of other libraries spin for a while after their work.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    private readonly Dictionary<string, Times> times = [];

    /// <summary>Whose times there are.</summary>
    public IEnumerable<string> Names => times.Keys;

    /// <summary>Number of rounds of decoding.</summary>
    public int Count => times.Values.First().Token.Count;

    /// <summary>Measures, prompts first; the caches hold the prompt between turns.</summary>
    /// <param name="contestants">Who takes part.</param>
    /// <param name="prompt">The tokens of the prompt.</param>
    /// <param name="next">Tokens that follow.</param>
    /// <param name="probe">Reads memory with as many threads as contestants have.</param>
    /// <param name="seconds">How long each of the two kinds of rounds goes on, beyond the fewest.</param>
    public static ModelRounds Measure(
        IReadOnlyList<ModelContestant> contestants, int[] prompt, int[] next, BandwidthProbe probe, double seconds)
    {
        var rounds = new ModelRounds();
        foreach (ModelContestant contestant in contestants)
        {
            rounds.times.Add(contestant.Name, new Times(contestant.Bytes));
            // The run-time compiles what has run for a while once more, and better; libraries prepare what they multiply by.
            for (long begin = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begin).TotalSeconds < 1.5;)
            {
                contestant.Rewind(0);
                contestant.Run(prompt.AsSpan(0, 8));
                contestant.Run(prompt.AsSpan(8, 1));
            }
        }

        Repeat(seconds, contestants, contestant =>
        {
            contestant.Rewind(0);
            Thread.Sleep(Pause);
            rounds.times[contestant.Name].Prompt.Add(Time(() => contestant.Run(prompt)));
        });

        Repeat(seconds, contestants, contestant =>
        {
            Times own = rounds.times[contestant.Name];
            Thread.Sleep(Pause);
            double before = probe.Measure();
            double token = Turn(contestant, withHead: true);
            double bandwidth = Math.Max(before, probe.Measure());
            own.Token.Add(token);
            own.Fractions.Add(contestant.Bytes / token / 1e9 / bandwidth);
            own.Body.Add(contestant.CanLeaveHeadOut ? Turn(contestant, withHead: false) : double.NaN);
        });
        return rounds;

        double Turn(ModelContestant contestant, bool withHead)
        {
            contestant.Rewind(prompt.Length);
            contestant.Run(next.AsSpan(0, 1), withHead);
            double time = Time(() =>
            {
                for (int token = 1; token <= TurnTokens; token++)
                {
                    contestant.Run(next.AsSpan(token, 1), withHead);
                }
            });
            contestant.Rewind(prompt.Length);
            return time / TurnTokens;
        }
    }

    /// <summary>Seconds to the first token: the shortest, and the median.</summary>
    public (double Least, double Median) Prompt(string name) => (times[name].Prompt.Min(), Median(times[name].Prompt));

    /// <summary>Seconds a token: the shortest, and the median.</summary>
    public (double Least, double Median) Token(string name) => (times[name].Token.Min(), Median(times[name].Token));

    /// <summary>The median of the head's share of a token; not a number where the head was not left out.</summary>
    public double HeadShare(string name) => Median(times[name].Token.Zip(times[name].Body, (token, body) => 1 - (body / token)));

    /// <summary>The median of a turn's share of the larger of the bandwidths that were read just before and after it.</summary>
    public double FractionOfBandwidth(string name) => Median(times[name].Fractions);

    /// <summary>Bytes of weights that a token reads.</summary>
    public long Bytes(string name) => times[name].Bytes;

    /// <summary>How many times as long a token of one takes as another's: the median of the rounds' ratios.</summary>
    public double TokenRatio(string one, string other) => Ratio(times[one].Token, times[other].Token);

    /// <summary>How many times as long the first token of one takes as another's: the median of the rounds' ratios.</summary>
    public double PromptRatio(string one, string other) => Ratio(times[one].Prompt, times[other].Prompt);

    private static void Repeat(double seconds, IReadOnlyList<ModelContestant> contestants, Action<ModelContestant> turn)
    {
        long begin = Stopwatch.GetTimestamp();
        for (int round = 0; round < FewestRounds || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds; round++)
        {
            for (int place = 0; place < contestants.Count; place++)
            {
                // Another one begins each round.
                turn(contestants[(place + round) % contestants.Count]);
            }
        }
    }

    private static double Time(Action action)
    {
        long begin = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
    }

    private static double Ratio(List<double> one, List<double> other) => Median(one.Zip(other, (time, otherTime) => time / otherTime));

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private sealed record Times(long Bytes)
    {
        public List<double> Prompt { get; } = [];

        public List<double> Token { get; } = [];

        public List<double> Body { get; } = [];

        public List<double> Fractions { get; } = [];
    }
}
