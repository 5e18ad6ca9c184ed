using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation.Tasks.Results;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary>Shows what models came to on tasks.</summary>
internal static class TaskOutput
{
    internal static JsonObject ToJson(TaskReport report, TaskReport? reference, IReadOnlyList<TaskComparison>? comparisons)
    {
        JsonObject json = report.ToJson();
        if (reference is not null)
        {
            json["reference"] = reference.ToJson();
            json["comparisons"] = new JsonArray([.. comparisons!.Select(each => (JsonNode)new JsonObject
            {
                ["task"] = each.Task,
                ["metric"] = each.Metric,
                ["filter"] = each.Filter,
                ["value"] = each.Value,
                ["reference"] = each.Reference,
                ["difference"] = each.Difference,
                ["differenceStandardError"] = each.StandardError,
                ["p"] = each.PValue,
                ["onlyFirst"] = each.OnlyFirst,
                ["onlyReference"] = each.OnlyReference,
            })]);
        }

        return json;
    }

    internal static string ToMarkdown(TaskReport report, TaskReport? reference, IReadOnlyList<TaskComparison>? comparisons)
    {
        if (reference is null)
        {
            return report.ToMarkdown();
        }

        var text = new StringBuilder();
        text.AppendLine("| task | metric | filter | value | reference | difference | p | right only here / only there |");
        text.AppendLine("|---|---|---|---:|---:|---:|---:|---:|");
        foreach (TaskComparison each in comparisons!)
        {
            text.AppendLine($"| {string.Join(" | ", [each.Task, each.Metric, each.Filter, .. Cells(each)])} |");
        }

        return $"{text}\nThe model:\n\n{report.ToMarkdown()}The reference:\n\n{reference.ToMarkdown()}".ReplaceLineEndings("\n");
    }

    internal static void Print(IAnsiConsole console, TaskReport report, TaskReport? reference, IReadOnlyList<TaskComparison>? comparisons)
    {
        if (reference is null)
        {
            Table table = Tables.OfNumbers("Task", "Metric", "Value", "Stderr", "n-shot", "Rows", "Cut");
            foreach (TaskResult result in report.Tasks.Concat(report.Groups))
            {
                foreach (TaskMetric metric in result.Metrics)
                {
                    table.AddRow(
                        Markup.Escape(result.Task),
                        Markup.Escape(metric.Filter == "none" ? metric.Name : $"{metric.Name} ({metric.Filter})"),
                        Numbers.Invariant($"{metric.Value:0.0000}"),
                        metric.StandardError is { } error ? Numbers.Invariant($"± {error:0.0000}") : "N/A",
                        Numbers.Invariant($"{result.Shots}"),
                        Numbers.Invariant($"{result.Rows}"),
                        Numbers.Invariant($"{result.CutRows}"));
                }
            }

            console.Write(table);
            PrintNotes(console, report.Notes);
            console.WriteLine(Numbers.Seconds(report.Seconds));
            return;
        }

        Table compared = Tables.OfNumbers("Task", "Metric", "Value", "Reference", "Difference", "p", "Right only here / there");
        foreach (TaskComparison each in comparisons!)
        {
            string metric = each.Filter == "none" ? each.Metric : $"{each.Metric} ({each.Filter})";
            compared.AddRow([Markup.Escape(each.Task), Markup.Escape(metric), .. Cells(each)]);
        }

        console.Write(compared);
        PrintNotes(console, Together(report, reference));
        console.WriteLine($"{Numbers.Seconds(report.Seconds)} and {Numbers.Seconds(reference.Seconds)}");
    }

    /// <summary>Both models' notes: as a rule they have the same window and tokenizer, and say the same.</summary>
    private static IEnumerable<string> Together(TaskReport report, TaskReport reference) =>
        [.. report.Notes, .. reference.Notes.Except(report.Notes).Select(note => $"Of the reference: {note}")];

    private static void PrintNotes(IAnsiConsole console, IEnumerable<string> notes)
    {
        foreach (string note in notes)
        {
            console.WriteLine(note);
        }
    }

    private static string[] Cells(TaskComparison each) =>
    [
        Numbers.Invariant($"{each.Value:0.0000}"),
        Numbers.Invariant($"{each.Reference:0.0000}"),
        each.Difference.ToString("+0.0000;-0.0000;0.0000", CultureInfo.InvariantCulture) + (each.StandardError is { } error ? Numbers.Invariant($" ± {error:0.0000}") : string.Empty),
        Numbers.Invariant($"{each.PValue:0.0000}"),
        each.OnlyFirst is { } first ? Numbers.Invariant($"{first} / {each.OnlyReference}") : string.Empty,
    ];
}
