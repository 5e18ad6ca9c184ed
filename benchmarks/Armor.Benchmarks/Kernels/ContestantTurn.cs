using System.Diagnostics;

namespace Armor.Benchmarks.Kernels;

/// <summary>As many products as can be timed well; the copies of the weight go on from turn to turn.</summary>
internal sealed class ContestantTurn
{
    /// <summary>How long a turn takes at least, unless it has gone over all copies.</summary>
    private const double Seconds = 0.02;

    private readonly Contestant contestant;
    private readonly float[] input;
    private readonly int batch;
    private readonly int calls;
    private int next;

    public ContestantTurn(Contestant contestant, float[] input, int batch)
    {
        (this.contestant, this.input, this.batch) = (contestant, input, batch);
        contestant.Begin(input, batch);
        double time = Math.Min(Products(1), Products(1));
        calls = (int)Math.Clamp(Math.Ceiling(Seconds / time), 1, contestant.Copies);
    }

    /// <summary>Has the turn.</summary>
    /// <returns>Microseconds a product.</returns>
    public double Run()
    {
        contestant.Begin(input, batch);
        if (calls > 1)
        {
            // Threads wake, and the inputs come into the cache.
            Products(1);
        }

        return Products(calls) / calls * 1e6;
    }

    private double Products(int count)
    {
        long begin = Stopwatch.GetTimestamp();
        for (int call = 0; call < count; call++)
        {
            contestant.Multiply(next);
            next = (next + 1) % contestant.Copies;
        }

        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
    }
}
