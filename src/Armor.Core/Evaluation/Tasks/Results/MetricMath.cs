using Armor.Core.Evaluation.Tasks.Definitions;
using MathNet.Numerics.Statistics;

namespace Armor.Core.Evaluation.Tasks.Results;

/// <summary>From the scores of rows to numbers with standard errors, by the harness's formulas.</summary>
internal static class MetricMath
{
    private const int Resamples = 2000;
    private const ulong Seed = 1234;

    /// <summary>Whether a metric is a mean over rows, such as an accuracy, and not a perplexity.</summary>
    public static bool IsMean(string metric) => metric is "acc" or "acc_norm" or "exact_match";

    /// <summary>A metric of scores: their mean; exp(−Σ value / Σ weight) for perplexities; −Σ value / (Σ weight · ln 2) for bits.</summary>
    public static double Value(string metric, IReadOnlyList<ItemScore> scores)
    {
        double mean = scores.Sum(score => score.Value) / scores.Sum(score => score.Weight);
        return metric switch
        {
            "bits_per_byte" => -mean / Math.Log(2),
            _ when IsMean(metric) => mean,
            _ => Math.Exp(-mean),
        };
    }

    /// <summary>A metric with its standard error: a mean's is s/√n; a perplexity's is bootstrapped; one weighted by words or bytes has none.</summary>
    public static TaskMetric Summarize((string Metric, string Filter) key, IReadOnlyList<ItemScore> scores)
    {
        double? error = scores.Count < 2
            ? null
            : IsMean(key.Metric)
                ? scores.Select(score => score.Value).StandardDeviation() / Math.Sqrt(scores.Count)
                : key.Metric == "perplexity"
                    ? Bootstrap(scores.Count, rows => Value(key.Metric, [.. rows.Select(row => scores[row])])).StandardDeviation()
                    : null;
        return new TaskMetric(key.Metric, key.Filter, Value(key.Metric, scores), error, IsMean(key.Metric));
    }

    /// <summary>The mean over tasks weighted by their rows, with the pooled standard error √(Σ (n−1)·n·e² / (Σn − k) / Σn).</summary>
    public static TaskMetric Pool(IReadOnlyList<(TaskMetric Metric, int Rows)> tasks)
    {
        double rows = tasks.Sum(task => task.Rows);
        double value = tasks.Sum(task => task.Metric.Value * task.Rows) / rows;
        double? error = rows > tasks.Count && tasks.All(task => task.Metric.StandardError is not null)
            ? Math.Sqrt(tasks.Sum(task => (task.Rows - 1.0) * task.Rows * Math.Pow(task.Metric.StandardError!.Value, 2)) / (rows - tasks.Count) / rows)
            : null;
        return tasks[0].Metric with { Value = value, StandardError = error };
    }

    /// <summary>A statistic of rows drawn with replacement, many times; from a fixed seed.</summary>
    public static double[] Bootstrap(int rows, Func<int[], double> statistic)
    {
        ulong state = Seed;
        var drawn = new int[rows];
        var values = new double[Resamples];
        for (int i = 0; i < Resamples; i++)
        {
            for (int place = 0; place < rows; place++)
            {
                drawn[place] = (int)Math.BigMul(Next(ref state), (ulong)rows, out _);
            }

            values[i] = statistic(drawn);
        }

        return values;
    }

    /// <summary>SplitMix64 (Steele, Lea and Flood, 2014).</summary>
    private static ulong Next(ref ulong state)
    {
        ulong value = state += 0x9E3779B97F4A7C15;
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
