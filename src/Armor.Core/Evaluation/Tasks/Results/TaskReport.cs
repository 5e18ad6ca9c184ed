using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Armor.Core.Evaluation.Tasks.Results;

/// <summary>What a model came to on tasks.</summary>
public sealed record TaskReport
{
    /// <summary>One result a task.</summary>
    public required IReadOnlyList<TaskResult> Tasks { get; init; }

    /// <summary>One result a group, such as MMLU's of all its subjects.</summary>
    public required IReadOnlyList<TaskResult> Groups { get; init; }

    /// <summary>The model's window, in tokens; what is longer is cut on its left.</summary>
    public required int ContextLength { get; init; }

    /// <summary>
    /// Sentences for a reader of the numbers: which tasks had rows that did not fit the model's window and how many, and whose answers were kept shorter than the task
    /// allows. Of a group's tasks only the group is told, where it was run as one; empty where all fitted.
    /// </summary>
    public IReadOnlyList<string> Notes
    {
        get
        {
            HashSet<string> members = [.. Groups.SelectMany(group => group.Members)];
            // Groups may lie within each other, as MMLU's fields do: the largest come first.
            var told = new HashSet<string>();
            return
            [
                .. Tasks.Where(task => !members.Contains(task.Task)).SelectMany(task => task.Notes(ContextLength)),
                .. Groups.Where(group => group.Members.Count(told.Add) > 0).SelectMany(group => group.Notes(ContextLength)),
            ];
        }
    }

    /// <summary>Wall time.</summary>
    public required double Seconds { get; init; }

    /// <summary>The results as JSON: <c>results</c> and <c>groups</c>, by task <c>metric,filter</c> and <c>metric_stderr,filter</c> as in the harness.</summary>
    public JsonObject ToJson() => new()
    {
        ["results"] = Results(Tasks),
        ["groups"] = Results(Groups),
        ["context_length"] = ContextLength,
        ["notes"] = new JsonArray([.. Notes.Select(note => (JsonNode)note)]),
        ["seconds"] = Seconds,
    };

    /// <summary>The results as a Markdown table with the harness's columns, and <see cref="Notes"/> after it.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        foreach ((string title, IReadOnlyList<TaskResult> results) in new[] { ("Tasks", Tasks), ("Groups", Groups) }.Where(part => part.Item2.Count > 0))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"|{title}|Version|Filter|n-shot|Metric|   |Value|   |Stderr|Rows|Cut|");
            text.AppendLine("|---|---:|---|---:|---|---|---:|---|---:|---:|---:|");
            foreach (TaskResult result in results)
            {
                foreach ((int index, TaskMetric metric) in result.Metrics.Index())
                {
                    string error = metric.StandardError is { } value ? value.ToString("0.0000", CultureInfo.InvariantCulture) : "N/A";
                    text.AppendLine(CultureInfo.InvariantCulture, $"|{(index == 0 ? result.Task : string.Empty)}|{(index == 0 ? result.Version : string.Empty)}|{metric.Filter}|{result.Shots}|{metric.Name}|{(metric.HigherIsBetter ? "↑" : "↓")}|{metric.Value:0.0000}|±|{error}|{result.Rows}|{result.CutRows}|");
                }
            }

            text.AppendLine();
        }

        foreach (string note in Notes)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {note}");
        }

        if (Notes.Count > 0)
        {
            text.AppendLine();
        }

        return text.ToString().ReplaceLineEndings("\n");
    }

    /// <summary>Writes a JSON Lines file a task: each row with its prompts, its answers and their worth.</summary>
    /// <param name="folder">Created where it is missing; files are overwritten.</param>
    public void WriteSamples(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        Directory.CreateDirectory(folder);
        foreach (TaskResult result in Tasks)
        {
            string path = Path.Combine(folder, $"samples_{result.Task}.jsonl");
            File.WriteAllLines(path + ".partial", result.Samples());
            File.Move(path + ".partial", path, overwrite: true);
        }
    }

    private static JsonObject Results(IEnumerable<TaskResult> results) =>
        new(results.Select(result => KeyValuePair.Create(result.Task, (JsonNode?)result.ToJson())));
}

/// <summary>One number of a task.</summary>
/// <param name="Name">The harness's name, such as <c>acc_norm</c>.</param>
/// <param name="Filter">How answers were taken out of generated text; <c>none</c> otherwise.</param>
/// <param name="Value">The number.</param>
/// <param name="StandardError">Its standard error over rows; null where the harness gives none.</param>
/// <param name="HigherIsBetter">Whether more is better.</param>
public sealed record TaskMetric(string Name, string Filter, double Value, double? StandardError, bool HigherIsBetter);
