using Armor.Core.Evaluation.Tasks.Data;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Evaluation.Tasks;

/// <summary>A task with its rows read and its prompts made.</summary>
internal sealed class PreparedTask
{
    private PreparedTask(TaskDefinition definition, string split, IReadOnlyList<string> files, int shots, IReadOnlyList<TaskPrompt> prompts)
    {
        Definition = definition;
        Split = split;
        Files = files;
        Shots = shots;
        Prompts = prompts;
    }

    /// <summary>The task.</summary>
    public TaskDefinition Definition { get; }

    /// <summary>The split that was found.</summary>
    public string Split { get; }

    /// <summary>All files that were read, examples' included.</summary>
    public IReadOnlyList<string> Files { get; }

    /// <summary>How many examples precede each question.</summary>
    public int Shots { get; }

    /// <summary>One a row, in the file's order.</summary>
    public IReadOnlyList<TaskPrompt> Prompts { get; }

    /// <summary>Reads a task's rows and makes their prompts.</summary>
    /// <param name="definition">The task.</param>
    /// <param name="files">Where the data lies.</param>
    /// <param name="shots">Examples before each question; null for the harness's number.</param>
    /// <param name="limit">The most rows, from the first; null for all.</param>
    /// <exception cref="TaskDataException">Data is missing or breaks its layout.</exception>
    public static PreparedTask Load(TaskDefinition definition, TaskFiles files, int? shots = null, int? limit = null)
    {
        string place = files.Locate(definition.Data, definition.Subset);
        (string split, IReadOnlyList<string> own) = Find(definition, place, definition.Splits);
        TaskItem[] items = [.. Items(definition, place, own).Take(limit ?? int.MaxValue)];
        if (items.Length == 0)
        {
            throw new TaskDataException($"{own[0]}: expected at least one row of {definition.Name}, found none.");
        }

        bool hasExamples = definition.FewShot.Splits.Count > 0 || definition.FewShot.Written is not null;
        int wanted = hasExamples ? shots ?? definition.DefaultShots : 0;
        string folder = File.Exists(place) ? Path.GetDirectoryName(Path.GetFullPath(place))! : place;
        string description = definition.Description(folder);
        if (wanted == 0)
        {
            return new PreparedTask(definition, split, own, 0, [.. items.Select(item => new TaskPrompt(item, description))]);
        }

        (IReadOnlyList<TaskItem> pool, IReadOnlyList<string> sources) = Pool(definition, place, folder);
        FewShotRule rule = definition.FewShot;
        if (pool.Count < wanted + (rule.LeavesRowOut ? 1 : 0))
        {
            throw new TaskDataException(FormattableString.Invariant(
                $"{sources[0]}: expected at least {wanted + (rule.LeavesRowOut ? 1 : 0)} rows for {wanted} examples, found {pool.Count}."));
        }

        var random = new PythonRandom(FewShotRule.Seed);
        return new PreparedTask(
            definition,
            split,
            [.. own.Union(sources)],
            wanted,
            [.. items.Select(item => new TaskPrompt(item, description + Examples(definition, item, pool, wanted, random)))]);
    }

    private static string Examples(TaskDefinition definition, TaskItem item, IReadOnlyList<TaskItem> pool, int count, PythonRandom random)
    {
        FewShotRule rule = definition.FewShot;
        IEnumerable<string> examples = rule.TakesFirst
            ? pool.Take(count).Select(Text)
            : rule.LeavesRowOut
                ? random.Sample(pool.Count, count + 1).Select(index => Text(pool[index])).Where(text => text != Text(item)).Take(count)
                : random.Sample(pool.Count, count).Select(index => Text(pool[index]));
        return string.Concat(examples.Select(text => text + FewShotRule.Between));

        string Text(TaskItem example) => example.Example(definition.Delimiter);
    }

    private static (IReadOnlyList<TaskItem> Items, IReadOnlyList<string> Files) Pool(TaskDefinition definition, string place, string folder)
    {
        if (definition.FewShot.Written is { } read)
        {
            return (read(folder), [folder]);
        }

        (_, IReadOnlyList<string> files) = Find(definition, place, definition.FewShot.Splits);
        return ([.. Items(definition, place, files)], files);
    }

    private static (string Split, IReadOnlyList<string> Files) Find(TaskDefinition definition, string place, IReadOnlyList<string> splits) =>
        TaskFiles.FindSplit(place, splits) ?? throw new TaskDataException(
            $"{place}: expected a file of {definition.Name}'s split {string.Join(" or ", splits)} (.jsonl, .json, .parquet), found none.");

    private static IEnumerable<TaskItem> Items(TaskDefinition definition, string place, IReadOnlyList<string> files)
    {
        IEnumerable<TaskRow> rows = TaskFiles.Read(files, definition.ListField);
        return (definition.Rearrange?.Invoke(place, rows) ?? rows).Select(definition.Reader());
    }
}

/// <summary>A row and what goes before it.</summary>
/// <param name="Item">The row.</param>
/// <param name="Before">The description and the examples.</param>
internal sealed record TaskPrompt(TaskItem Item, string Before);
