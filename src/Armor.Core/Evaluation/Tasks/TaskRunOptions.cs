namespace Armor.Core.Evaluation.Tasks;

/// <summary>What tasks run on.</summary>
public sealed record TaskRunOptions
{
    /// <summary>A folder with a folder a data set, such as <c>hellaswag/validation.jsonl</c>; null where <see cref="Paths"/> has all.</summary>
    public string? Folder { get; init; }

    /// <summary>Paths of single data sets, by name: a folder, or a file.</summary>
    public IReadOnlyDictionary<string, string> Paths { get; init; } = new Dictionary<string, string>();

    /// <summary>How many examples precede each question; null for each task's own number.</summary>
    public int? Shots { get; init; }

    /// <summary>The most rows of a task, from the first; null for all.</summary>
    public int? Limit { get; init; }

    /// <summary>A folder in which answers are kept as they come, so that a run goes on where it stopped; null to keep none.</summary>
    public string? WorkFolder { get; init; }

    /// <summary>What tells the model from others, such as a hash of its files; answers kept for another one are not used.</summary>
    public string ModelIdentity { get; init; } = string.Empty;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (Shots < 0)
        {
            violations.Add(FormattableString.Invariant($"Shots must be at least 0; found {Shots}."));
        }

        if (Limit < 1)
        {
            violations.Add(FormattableString.Invariant($"Limit must be at least 1; found {Limit}."));
        }

        if (Folder is null && Paths.Count == 0)
        {
            violations.Add("Folder or Paths must say where the data lies.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }
    }
}

/// <summary>Where a run of tasks stands.</summary>
/// <param name="Task">The task under way.</param>
/// <param name="Rows">How many rows of all tasks are done.</param>
/// <param name="TotalRows">How many there are.</param>
/// <param name="Elapsed">Time since the start.</param>
public sealed record TaskProgress(string Task, int Rows, int TotalRows, TimeSpan Elapsed);
