namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>Finds the files of data sets and reads their rows.</summary>
/// <param name="root">A folder with one folder a data set; null where every data set has a path of its own.</param>
/// <param name="paths">Paths of single data sets, by the first of their names: a folder, or one file for every split.</param>
internal sealed class TaskFiles(string? root, IReadOnlyDictionary<string, string> paths)
{
    private static readonly string[] Endings = [".jsonl.gz", ".json.gz", ".jsonl", ".json", ".parquet", ".txt"];

    /// <summary>The file or the folder of a data set, or of a subset in it.</summary>
    /// <param name="set">The data set.</param>
    /// <param name="subset">A folder in it; null for none.</param>
    /// <exception cref="TaskDataException">There is none.</exception>
    public string Locate(TaskDataSet set, string? subset = null)
    {
        if (paths.TryGetValue(set.Name, out string? path))
        {
            return File.Exists(path) ? path : Within(path, subset)
                ?? throw new TaskDataException($"{Joined(path, subset)}: expected the data of {set.Name}, found no such file or folder.");
        }

        if (root is null || !Directory.Exists(root))
        {
            throw new TaskDataException($"{root ?? "(none)"}: expected a folder with the tasks' data, found none.");
        }

        return set.Folders.Select(folder => Within(Path.Combine(root, folder), subset)).FirstOrDefault(folder => folder is not null)
            ?? throw new TaskDataException(
                $"{root}: expected the data of {set.Name} in a folder {string.Join(" or ", set.Folders.Select(folder => Joined(folder, subset)))}, found none of them.");
    }

    /// <summary>The names of the subsets that a data set has.</summary>
    public IReadOnlyList<string> Subsets(TaskDataSet set)
    {
        string place = Locate(set);
        return Directory.Exists(place) ? [.. Directory.EnumerateDirectories(place).Select(folder => Path.GetFileName(folder)).Order(StringComparer.Ordinal)] : [];
    }

    /// <summary>The files of the first split that is there, in order of their names.</summary>
    /// <param name="place">What <see cref="Locate"/> found.</param>
    /// <param name="splits">Names of splits, the wanted one first.</param>
    /// <returns>The split and its files; null where there is none.</returns>
    public static (string Split, IReadOnlyList<string> Files)? FindSplit(string place, IEnumerable<string> splits)
    {
        if (File.Exists(place))
        {
            return (splits.First(), [place]);
        }

        // Published files lie in the folder itself or in one named data, and are called test.jsonl, test-00000-of-00001.parquet or c4-test.00000-of-00008.json.gz.
        string[] files = DataFiles(place, Path.Combine(place, "data"));
        foreach (string split in splits)
        {
            string[] own = [.. files.Where(file => IsOf(file, split))];
            if (own.Length == 0)
            {
                own = [.. DataFiles(Path.Combine(place, split)).Where(file => IsOf(file, "test"))]; // a folder of the name, with the one split in it
            }

            if (own.Length > 0)
            {
                return (split, own);
            }
        }

        return null;
    }

    /// <summary>The rows of files in turn.</summary>
    /// <param name="files">As <see cref="FindSplit"/> gives them.</param>
    /// <param name="listField">Where the rows of a <c>.json</c> file lie; null where the file is a list.</param>
    public static IEnumerable<TaskRow> Read(IReadOnlyList<string> files, string? listField = null) => files.SelectMany(file => Read(file, listField));

    private static IEnumerable<TaskRow> Read(string file, string? listField)
    {
        try
        {
            return Ending(file) switch
            {
                ".parquet" => ParquetRows.Read(file),
                ".json" => JsonRows.ReadList(file, listField),
                ".txt" => WikiPages.ReadText(file),
                _ => JsonRows.ReadLines(file),
            };
        }
        catch (IOException exception)
        {
            throw new TaskDataException($"{file}: cannot be read: {exception.Message}", exception);
        }
    }

    private static string[] DataFiles(params string[] folders) =>
        [.. folders.Where(Directory.Exists).SelectMany(folder => Directory.EnumerateFiles(folder)).Where(file => Ending(file) is not null).Order(StringComparer.Ordinal)];

    // BIG-Bench Hard's prompt files lie beside its rows.
    private static string? Ending(string file) => file.EndsWith(".cot-prompt.txt", StringComparison.Ordinal) ? null : Array.Find(Endings, ending => file.EndsWith(ending, StringComparison.OrdinalIgnoreCase));

    /// <summary>Whether a file's name is the split's, or has it between its separators.</summary>
    private static bool IsOf(string file, string split)
    {
        string name = Path.GetFileName(file);
        string stem = name[..^Ending(name)!.Length];
        for (int start = stem.IndexOf(split, StringComparison.OrdinalIgnoreCase); start >= 0; start = stem.IndexOf(split, start + 1, StringComparison.OrdinalIgnoreCase))
        {
            int end = start + split.Length;
            if ((start == 0 || stem[start - 1] is '-' or '_' or '.') && (end == stem.Length || stem[end] is '-' or '.'))
            {
                return true;
            }
        }

        return false;
    }

    private static string? Within(string folder, string? subset)
    {
        string path = subset is null ? folder : Path.Combine(folder, subset);
        return Directory.Exists(path) ? path : null;
    }

    private static string Joined(string folder, string? subset) => subset is null ? folder : Path.Combine(folder, subset);
}
