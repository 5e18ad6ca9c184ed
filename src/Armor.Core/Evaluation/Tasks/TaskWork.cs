using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Evaluation.Tasks;

/// <summary>
/// The answers to a task as they come: a line a row in a file whose first line says what it belongs to. A file of another model, other data or other prompts begins anew.
/// </summary>
internal sealed class TaskWork : IDisposable
{
    private readonly StreamWriter? writer;

    private TaskWork(IReadOnlyList<TaskResponse>?[] answers, StreamWriter? writer)
    {
        Answers = answers;
        this.writer = writer;
    }

    /// <summary>One entry a row; null where it is not answered yet.</summary>
    public IReadOnlyList<TaskResponse>?[] Answers { get; }

    /// <summary>Reads what a former run kept.</summary>
    public static TaskWork Open(PreparedTask task, TaskRunOptions options)
    {
        var answers = new IReadOnlyList<TaskResponse>?[task.Prompts.Count];
        if (options.WorkFolder is null)
        {
            return new TaskWork(answers, null);
        }

        Directory.CreateDirectory(options.WorkFolder);
        string path = Path.Combine(options.WorkFolder, task.Definition.Name + ".jsonl");
        string header = JsonSerializer.Serialize(new Header(Fingerprint(task, options.ModelIdentity)));
        List<string> kept = [header];
        if (File.Exists(path))
        {
            using var reader = new StreamReader(path);
            if (reader.ReadLine() == header)
            {
                while (reader.ReadLine() is { } line && Parse(line) is { } row && row.Row >= 0 && row.Row < answers.Length)
                {
                    answers[row.Row] = row.Responses;
                    kept.Add(line);
                }
            }
        }

        // Written anew, so that a line which an interruption cut short does not stay before others.
        string temporary = path + ".partial";
        File.WriteAllLines(temporary, kept);
        File.Move(temporary, path, overwrite: true);
        return new TaskWork(answers, new StreamWriter(path, append: true) { AutoFlush = true });
    }

    /// <summary>Notes the answers to a row.</summary>
    public void Keep(int row, IReadOnlyList<TaskResponse> responses)
    {
        Answers[row] = responses;
        writer?.WriteLine(JsonSerializer.Serialize(new Line(row, responses)));
    }

    public void Dispose() => writer?.Dispose();

    private static Line? Parse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize<Line>(line) is { Responses.Count: > 0 } parsed && !parsed.Responses.Contains(null!) ? parsed : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Of everything that an answer depends on: the model, and the requests of every row.</summary>
    private static string Fingerprint(PreparedTask task, string model)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add($"{model}\n{task.Definition.Name} {task.Definition.Version}");
        foreach (TaskRequest request in task.Prompts.SelectMany(prompt => prompt.Item.Requests(prompt.Before, task.Definition.Delimiter)))
        {
            Add(JsonSerializer.Serialize(request, request.GetType()));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Add(string text) => hash.AppendData(Encoding.UTF8.GetBytes(text + "\n"));
    }

    private sealed record Header(string Fingerprint);

    private sealed record Line(int Row, IReadOnlyList<TaskResponse> Responses);
}
