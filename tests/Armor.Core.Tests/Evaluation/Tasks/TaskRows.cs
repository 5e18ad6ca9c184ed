using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Data;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Tests.Evaluation.Tasks;

/// <summary>Writes rows and reads them back as prompts.</summary>
internal static class TaskRows
{
    public static PreparedTask Load(string folder, string task, int? shots = null, int? limit = null)
    {
        var files = new TaskFiles(folder, new Dictionary<string, string>());
        return PreparedTask.Load(TaskCatalogue.Find(task, files)[0].Tasks[0], files, shots, limit);
    }

    public static void Write(TemporaryFolder folder, string file, params string[] lines)
    {
        string path = folder.File(file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllLines(path, lines);
    }

    /// <summary>The context and the continuation of each of a row's requests.</summary>
    public static (string Context, string Continuation)[] Continuations(PreparedTask task, int row = 0) =>
        [.. Requests(task, row).Cast<ContinuationRequest>().Select(request => (request.Context, request.Continuation))];

    public static IReadOnlyList<TaskRequest> Requests(PreparedTask task, int row = 0) =>
        task.Prompts[row].Item.Requests(task.Prompts[row].Before, task.Definition.Delimiter);
}
