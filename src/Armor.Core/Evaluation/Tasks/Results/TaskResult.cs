using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Core.Evaluation.Tasks.Definitions;
using Armor.Core.Evaluation.Tasks.Scoring;

namespace Armor.Core.Evaluation.Tasks.Results;

/// <summary>What a model came to on one task, or on a group of them.</summary>
public sealed record TaskResult
{
    private TaskResult(PreparedTask? source, IReadOnlyList<RowAnswers> answers)
    {
        Source = source;
        Answers = answers;
    }

    /// <summary>The task's name in the harness.</summary>
    public required string Task { get; init; }

    /// <summary>The version of the harness's definition that the task follows.</summary>
    public required string Version { get; init; }

    /// <summary>How many examples preceded each question.</summary>
    public required int Shots { get; init; }

    /// <summary>The split that was measured; empty for a group.</summary>
    public required string Split { get; init; }

    /// <summary>How many rows were measured.</summary>
    public required int Rows { get; init; }

    /// <summary>Rows of which a request was cut on its left to fit the model's context.</summary>
    public required int CutRows { get; init; }

    /// <summary>The most tokens of a generated answer; null where none is generated.</summary>
    public int? AnswerTokens { get; private init; }

    /// <summary>The most that the task allows: more than <see cref="AnswerTokens"/> where so long an answer would fill the model's window.</summary>
    public int? WantedAnswerTokens { get; private init; }

    /// <summary>The numbers, by name and filter.</summary>
    public required IReadOnlyList<TaskMetric> Metrics { get; init; }

    /// <summary>The tasks of a group; empty for a task.</summary>
    public IReadOnlyList<string> Members { get; private init; } = [];

    internal PreparedTask? Source { get; }

    internal IReadOnlyList<RowAnswers> Answers { get; }

    internal static TaskResult Of(PreparedTask task, IReadOnlyList<RowAnswers> answers, int contextLength)
    {
        int? wanted = (task.Prompts[0].Item as AnswerItem)?.Rule.MaxTokens;
        return new TaskResult(task, answers)
        {
            Task = task.Definition.Name,
            Version = task.Definition.Version,
            Shots = task.Shots,
            Split = task.Split,
            Rows = answers.Count,
            CutRows = answers.Count(answer => answer.Responses.Any(response => response.IsTruncated)),
            AnswerTokens = wanted is { } most ? ScoringRequests.AnswerTokens(most, contextLength) : null,
            WantedAnswerTokens = wanted,
            Metrics = [.. Scores(answers).Select(scores => MetricMath.Summarize(scores.Key, [.. scores]))],
        };
    }

    /// <summary>A group's numbers: means over all rows, and the harness's pooled standard error.</summary>
    internal static TaskResult OfGroup(TaskGroup group, IReadOnlyList<TaskResult> tasks) => new(null, [])
    {
        Task = group.Name,
        Version = group.Version,
        Shots = tasks[0].Shots,
        Split = string.Empty,
        Rows = tasks.Sum(task => task.Rows),
        CutRows = tasks.Sum(task => task.CutRows),
        AnswerTokens = tasks[0].AnswerTokens,
        WantedAnswerTokens = tasks[0].WantedAnswerTokens,
        Members = [.. tasks.Select(task => task.Task)],
        Metrics = [.. tasks[0].Metrics.Select((metric, index) => MetricMath.Pool([.. tasks.Select(task => (task.Metrics[index], task.Rows))]))],
    };

    /// <summary>The scores of all rows by metric.</summary>
    internal static IEnumerable<IGrouping<(string Metric, string Filter), ItemScore>> Scores(IEnumerable<RowAnswers> answers) =>
        answers.SelectMany(answer => answer.Scores).GroupBy(score => (score.Metric, score.Filter)).OrderBy(group => group.Key.Metric, StringComparer.Ordinal);

    /// <summary>What a reader of the numbers should know about the model's window.</summary>
    internal IEnumerable<string> Notes(int contextLength)
    {
        if (CutRows > 0)
        {
            string answer = AnswerTokens is null ? string.Empty : FormattableString.Invariant($" and leave {AnswerTokens} of them for the answer");
            yield return FormattableString.Invariant(
                $"{Task}: {CutRows} of {Rows} rows were cut at their beginning, examples first, to fit the model's window of {contextLength} tokens{answer}.");
        }

        if (AnswerTokens < WantedAnswerTokens)
        {
            yield return FormattableString.Invariant(
                $"{Task}: answers had at most {AnswerTokens} tokens instead of {WantedAnswerTokens}, which leave no room for a question in a window of {contextLength}.");
        }
    }

    internal JsonObject ToJson()
    {
        var json = new JsonObject
        {
            ["version"] = Version,
            ["num_fewshot"] = Shots,
            ["split"] = Split,
            ["sample_len"] = Rows,
            ["truncated"] = CutRows,
        };
        if (AnswerTokens is { } most)
        {
            json["max_gen_toks"] = most;
            json["max_gen_toks_of_task"] = WantedAnswerTokens;
        }

        foreach (TaskMetric metric in Metrics)
        {
            json[$"{metric.Name},{metric.Filter}"] = metric.Value;
            json[$"{metric.Name}_stderr,{metric.Filter}"] = metric.StandardError is { } error ? error : "N/A";
        }

        return json;
    }

    /// <summary>Each row as a line of JSON.</summary>
    internal IEnumerable<string> Samples() => Answers.Select((answer, row) =>
    {
        TaskPrompt prompt = Source!.Prompts[row];
        IReadOnlyList<TaskRequest> requests = prompt.Item.Requests(prompt.Before, Source.Definition.Delimiter);
        return new JsonObject
        {
            ["doc_id"] = row,
            ["target"] = prompt.Item.Target,
            ["arguments"] = new JsonArray([.. requests.Select(request => JsonSerializer.SerializeToNode(request, request.GetType()))]),
            ["resps"] = JsonSerializer.SerializeToNode(answer.Responses),
            ["metrics"] = new JsonObject(answer.Scores.Select(score => KeyValuePair.Create($"{score.Metric},{score.Filter}", (JsonNode?)score.Value))),
        }.ToJsonString();
    });
}
