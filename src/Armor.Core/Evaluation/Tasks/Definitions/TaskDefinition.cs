using Armor.Core.Evaluation.Tasks.Data;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>A task: where its rows lie, how a row becomes a prompt, and how many examples go before it.</summary>
internal sealed record TaskDefinition
{
    /// <summary>The harness's name of it.</summary>
    public required string Name { get; init; }

    /// <summary>The version of the harness's definition that this one follows.</summary>
    public required string Version { get; init; }

    /// <summary>Where the rows lie.</summary>
    public required TaskDataSet Data { get; init; }

    /// <summary>The subset's folder in the data set; null for none.</summary>
    public string? Subset { get; init; }

    /// <summary>The splits that may be measured, the harness's own first.</summary>
    public required IReadOnlyList<string> Splits { get; init; }

    /// <summary>The field of a <c>.json</c> file in which the rows lie; null where the file is a list.</summary>
    public string? ListField { get; init; }

    /// <summary>Makes what turns rows into items, in their order; anew for every pass over a file.</summary>
    public required Func<Func<TaskRow, TaskItem>> Reader { get; init; }

    /// <summary>Turns the rows into those that items are made of; null where they are those already.</summary>
    public Func<string, IEnumerable<TaskRow>, IEnumerable<TaskRow>>? Rearrange { get; init; }

    /// <summary>What precedes the first example, or the question.</summary>
    public Func<string, string> Description { get; init; } = _ => string.Empty;

    /// <summary>What lies between a question and its answer.</summary>
    public string Delimiter { get; init; } = " ";

    /// <summary>How many examples are given unless told otherwise: as many as the harness's definition says; where it is silent none, but for MMLU the five of its paper.</summary>
    public int DefaultShots { get; init; }

    /// <summary>Where examples come from.</summary>
    public FewShotRule FewShot { get; init; } = FewShotRule.Sampled("train", "validation");
}

/// <summary>Where few-shot examples come from and which are taken.</summary>
internal sealed record FewShotRule
{
    /// <summary>What lies between examples.</summary>
    public const string Between = "\n\n";

    /// <summary>The harness's seed of the draws.</summary>
    public const uint Seed = 1234;

    /// <summary>The splits that may give them, the wanted one first; empty for a task that has none.</summary>
    public IReadOnlyList<string> Splits { get; private init; } = [];

    /// <summary>Reads examples that lie in a file of their own beside the rows, by the folder; null where a split gives them.</summary>
    public Func<string, IReadOnlyList<TaskItem>>? Written { get; private init; }

    /// <summary>Whether the first ones are taken for every row, or others are drawn for each.</summary>
    public bool TakesFirst { get; private init; }

    /// <summary>
    /// Whether one more is drawn than wanted, and the row itself is then left out: so the harness does where a task names neither a test split nor one for examples.
    /// </summary>
    public bool LeavesRowOut { get; private init; }

    /// <summary>The first rows of a split.</summary>
    public static FewShotRule First(string split) => new() { Splits = [split], TakesFirst = true };

    /// <summary>Rows drawn anew for each row, from the first of the splits that is there.</summary>
    public static FewShotRule Sampled(params string[] splits) => new() { Splits = splits };

    /// <summary>As <see cref="Sampled"/>, without the row itself.</summary>
    public static FewShotRule SampledOthers(params string[] splits) => new() { Splits = splits, LeavesRowOut = true };

    /// <summary>Examples that lie in a file beside the rows.</summary>
    public static FewShotRule FromFile(Func<string, IReadOnlyList<TaskItem>> read) => new() { Written = read, TakesFirst = true };

    /// <summary>No examples at all.</summary>
    public static FewShotRule None { get; } = new();
}
