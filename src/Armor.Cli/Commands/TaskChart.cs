using Armor.Core.Evaluation.Tasks.Results;
using ScottPlot;

namespace Armor.Cli.Commands;

/// <summary>Draws accuracies with their standard errors, side by side where there are two models.</summary>
internal static class TaskChart
{
    private const int Width = 1100;
    private const int HeightOfRow = 44;
    private const int HeightOfFrame = 150;

    private static readonly Color ModelColor = Color.FromHex("#1f6feb");
    private static readonly Color LineColor = Color.FromHex("#24292f");
    private static readonly Color ReferenceColor = Color.FromHex("#8c959f");

    internal static void Write(TaskReport report, TaskReport? reference, string path)
    {
        // The tasks of a group are told by the group.
        HashSet<string> members = [.. report.Groups.SelectMany(group => group.Members)];
        TaskResult[] shown = [.. report.Tasks.Where(task => !members.Contains(task.Task)).Concat(report.Groups).Reverse()];
        var labels = new List<string>();
        using var plot = new Plot();
        foreach (TaskResult result in shown)
        {
            foreach (TaskMetric metric in result.Metrics.Where(metric => metric.HigherIsBetter))
            {
                TaskMetric? other = reference?.Tasks.Concat(reference.Groups).First(each => each.Task == result.Task)
                    .Metrics.First(each => (each.Name, each.Filter) == (metric.Name, metric.Filter));
                AddBar(plot, metric, labels.Count + (other is null ? 0 : 0.2), other is null ? 0.6 : 0.36, ModelColor);
                if (other is not null)
                {
                    AddBar(plot, other, labels.Count - 0.2, 0.36, ReferenceColor);
                }

                labels.Add($"{result.Task} {metric.Name}{(metric.Filter == "none" ? string.Empty : $" ({metric.Filter})")}");
            }
        }

        plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericManual([.. labels.Select((_, place) => (double)place)], [.. labels]);
        plot.Axes.Left.MajorTickStyle.Length = 0;
        plot.Font.Set(Fonts.Sans);
        plot.Title(reference is null ? "Accuracy on tasks" : "Accuracy on tasks: the model (blue) and the reference (grey)", size: 18);
        plot.XLabel("share of rows that are right, with its standard error", size: 14);
        plot.HideGrid();
        plot.Axes.SetLimits(0, 1, -0.6, Math.Max(1, labels.Count) - 0.4);
        plot.SavePng(path, Width, HeightOfFrame + (HeightOfRow * labels.Count));
    }

    private static void AddBar(Plot plot, TaskMetric metric, double position, double size, Color color)
    {
        var bar = plot.Add.Bar(new Bar
        {
            Position = position,
            Value = metric.Value,
            Error = metric.StandardError ?? 0,
            Orientation = Orientation.Horizontal,
            Size = size,
            FillColor = color,
            LineWidth = 1.2f, // of the error's whiskers too
            LineColor = LineColor,
        });
        bar.Horizontal = true;
    }
}
