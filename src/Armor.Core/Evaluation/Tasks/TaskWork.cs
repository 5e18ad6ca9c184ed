using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Evaluation.Tasks;

/// <summary>
/// The answers to a task as they come: a line a row, under a hash of everything that its answer depends on, in a file whose first line names the model. So a run takes
/// over the rows that it shares with another, of fewer rows or other prompts; a file of another model begins anew.
/// </summary>
internal sealed class TaskWork : IDisposable
{
    /// <summary>Changes with what a line says.</summary>
    private const int Version = 2;

    private readonly string[] keys;
    private readonly StreamWriter? writer;

    private TaskWork(string[] keys, IReadOnlyList<TaskResponse>?[] answers, StreamWriter? writer)
    {
        this.keys = keys;
        Answers = answers;
        this.writer = writer;
    }

    /// <summary>One entry a row; null where it is not answered yet.</summary>
    public IReadOnlyList<TaskResponse>?[] Answers { get; }

    /// <summary>Reads what former runs kept.</summary>
    public static TaskWork Open(PreparedTask task, TaskRunOptions options)
    {
        if (options.WorkFolder is null)
        {
            return new TaskWork([], new IReadOnlyList<TaskResponse>?[task.Prompts.Count], null);
        }

        Directory.CreateDirectory(options.WorkFolder);
        string path = Path.Combine(options.WorkFolder, task.Definition.Name + ".jsonl");
        string header = JsonSerializer.Serialize(new Header(Version, options.ModelIdentity));
        Dictionary<string, Line> kept = File.Exists(path) ? Read(path, header) : [];

        // Written anew, so that a line which an interruption cut short does not stay before others.
        string temporary = path + ".partial";
        File.WriteAllLines(temporary, kept.Values.Select(line => JsonSerializer.Serialize(line)).Prepend(header));
        File.Move(temporary, path, overwrite: true);
        string[] keys = [.. task.Prompts.Select(prompt => Key(task.Definition, prompt))];
        return new TaskWork(keys, [.. keys.Select(key => kept.GetValueOrDefault(key)?.Responses)], new StreamWriter(path, append: true) { AutoFlush = true });
    }

    /// <summary>Notes the answers to a row.</summary>
    public void Keep(int row, IReadOnlyList<TaskResponse> responses)
    {
        Answers[row] = responses;
        writer?.WriteLine(JsonSerializer.Serialize(new Line(keys[row], responses)));
    }

    public void Dispose() => writer?.Dispose();

    private static Dictionary<string, Line> Read(string path, string header)
    {
        var kept = new Dictionary<string, Line>(StringComparer.Ordinal);
        using var reader = new StreamReader(path);
        if (reader.ReadLine() == header)
        {
            while (reader.ReadLine() is { } text && Parse(text) is { } line)
            {
                kept[line.Key] = line;
            }
        }

        return kept;
    }

    private static Line? Parse(string text)
    {
        try
        {
            return JsonSerializer.Deserialize<Line>(text) is { Key: not null, Responses.Count: > 0 } parsed && !parsed.Responses.Contains(null!) ? parsed : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Of what a row's answer depends on beside the model: the requests, which hold their prompts whole.</summary>
    private static string Key(TaskDefinition task, TaskPrompt prompt)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (TaskRequest request in prompt.Item.Requests(prompt.Before, task.Delimiter))
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{request.GetType().Name} {JsonSerializer.Serialize(request, request.GetType())}\n"));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private sealed record Header(int Version, string Model);

    private sealed record Line(string Key, IReadOnlyList<TaskResponse> Responses);
}
