using Armor.Core.Evaluation.Tasks.Definitions;
using MathNet.Numerics.Statistics;

namespace Armor.Core.Evaluation.Tasks.Results;

/// <summary>The difference of two models on one metric of one task, row by row.</summary>
/// <param name="Task">The task.</param>
/// <param name="Metric">The metric.</param>
/// <param name="Filter">Its filter.</param>
/// <param name="Value">The first model's value.</param>
/// <param name="Reference">The other's, as a rule the dense one's.</param>
/// <param name="StandardError">
/// Of <see cref="Difference"/>, paired by row: s/√n of the differences for a mean, bootstrapped for a perplexity; null for a single row.
/// </param>
/// <param name="PValue">
/// How likely so large a difference is between equal models, from both sides: McNemar's exact test for what is right or wrong, the paired bootstrap for perplexities.
/// </param>
/// <param name="OnlyFirst">Rows that only the first model had right; null for perplexities.</param>
/// <param name="OnlyReference">Rows that only the other had right; null for perplexities.</param>
/// <param name="HigherIsBetter">Whether more is better.</param>
public sealed record TaskComparison(
    string Task,
    string Metric,
    string Filter,
    double Value,
    double Reference,
    double? StandardError,
    double PValue,
    int? OnlyFirst,
    int? OnlyReference,
    bool HigherIsBetter)
{
    /// <summary>The first model's value less the other's.</summary>
    public double Difference => Value - Reference;

    /// <summary>Compares two models on the same rows; groups of tasks too, their rows taken together.</summary>
    /// <param name="report">The first model's.</param>
    /// <param name="reference">The other's.</param>
    /// <returns>One comparison a metric: of the tasks, then of the groups.</returns>
    /// <exception cref="ArgumentException">The reports are not of the same tasks and rows.</exception>
    public static IReadOnlyList<TaskComparison> Compare(TaskReport report, TaskReport reference)
    {
        ArgumentNullException.ThrowIfNull(report);
        ArgumentNullException.ThrowIfNull(reference);
        if (!Shape(report).SequenceEqual(Shape(reference)))
        {
            throw new ArgumentException(
                $"Only reports of the same tasks and rows can be compared; found {string.Join(", ", Shape(report))} against {string.Join(", ", Shape(reference))}.",
                nameof(reference));
        }

        return
        [
            .. report.Tasks.Zip(reference.Tasks).SelectMany(pair => Compare(pair.First.Task, pair.First.Answers, pair.Second.Answers)),
            .. report.Groups.SelectMany(group => Compare(group.Task, Rows(report, group), Rows(reference, group))),
        ];
    }

    /// <summary>McNemar's exact test: the chance of a split as uneven as this one, or more, of rows on which two equal models differ.</summary>
    internal static double McNemar(int onlyFirst, int onlySecond)
    {
        int count = onlyFirst + onlySecond;
        // Terms from a recurrence in logarithms: C(n, k)·2^−n.
        double term = -count * Math.Log(2);
        double tail = 0;
        for (int k = 0; k <= Math.Min(onlyFirst, onlySecond); k++)
        {
            tail += Math.Exp(term);
            term += Math.Log((count - k) / (k + 1.0));
        }

        return Math.Min(1, 2 * tail);
    }

    private static IEnumerable<string> Shape(TaskReport report) => report.Tasks.Concat(report.Groups).Select(task => $"{task.Task} ({task.Rows} rows)");

    private static RowAnswers[] Rows(TaskReport report, TaskResult group) =>
        [.. group.Members.SelectMany(member => report.Tasks.First(task => task.Task == member).Answers)];

    private static IEnumerable<TaskComparison> Compare(string task, IReadOnlyList<RowAnswers> first, IReadOnlyList<RowAnswers> second) =>
        TaskResult.Scores(first).Zip(TaskResult.Scores(second), (one, other) => Compare(task, one.Key, [.. one], [.. other]));

    private static TaskComparison Compare(string task, (string Metric, string Filter) key, ItemScore[] first, ItemScore[] second)
    {
        double value = MetricMath.Value(key.Metric, first);
        double reference = MetricMath.Value(key.Metric, second);
        if (MetricMath.IsMean(key.Metric))
        {
            double[] differences = [.. first.Zip(second, (one, other) => one.Value - other.Value)];
            int onlyFirst = differences.Count(difference => difference > 0);
            int onlySecond = differences.Count(difference => difference < 0);
            double? error = first.Length < 2 ? null : differences.StandardDeviation() / Math.Sqrt(first.Length);
            return new TaskComparison(task, key.Metric, key.Filter, value, reference, error, McNemar(onlyFirst, onlySecond), onlyFirst, onlySecond, true);
        }

        double[] resampled = MetricMath.Bootstrap(first.Length, rows =>
            MetricMath.Value(key.Metric, [.. rows.Select(row => first[row])]) - MetricMath.Value(key.Metric, [.. rows.Select(row => second[row])]));
        double below = resampled.Count(difference => difference <= 0);
        double above = resampled.Count(difference => difference >= 0);
        double chance = Math.Min(1, 2 * (Math.Min(below, above) + 1) / (resampled.Length + 1));
        return new TaskComparison(
            task, key.Metric, key.Filter, value, reference, first.Length < 2 ? null : resampled.StandardDeviation(), chance, null, null, false);
    }
}
