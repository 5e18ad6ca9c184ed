using System.Text.RegularExpressions;
using Armor.Core.Evaluation.Tasks.Data;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>The tasks whose answers are generated.</summary>
internal static partial class AnswerTasks
{
    private const string Thinking = "\nA: Let's think step by step.";

    private static readonly AnswerRule GradeSchool = new(
        ["Question:", "</s>", "<|im_end|>"],
        256,
        [
            new PatternFilter("flexible-extract", AnyNumber(), TakesLast: true),
            new PatternFilter("strict-match", MarkedNumber(), TakesLast: false),
        ],
        // In this order: commas, dollars, all up to the mark, a stop at the end; then case.
        text => LastStop().Replace(UpToMark().Replace(text.Substitute(",", string.Empty).Substitute("$", string.Empty), string.Empty), string.Empty).ToLowerInvariant());

    private static readonly AnswerRule BigBench = new(
        ["</s>", "Q", "\n\n"], 1024, [new PatternFilter("get-answer", SaidAnswer(), TakesLast: false)], text => text);

    /// <summary>GSM8K (Cobbe et al., arXiv 2110.14168).</summary>
    public static TaskDefinition Gsm8k() => new()
    {
        Name = "gsm8k",
        Version = "3.0",
        Data = new TaskDataSet("gsm8k", "gsm8k", "gsm8k/main"),
        Splits = ["test"],
        DefaultShots = 5,
        FewShot = FewShotRule.Sampled("train"),
        Reader = () => row => new AnswerItem($"Question: {row.Text("question")}\nAnswer:", row.Text("answer"), GradeSchool),
    };

    /// <summary>
    /// A task of BIG-Bench Hard (Suzgun et al., arXiv 2210.09261) with its chain of thought; the examples lie in the authors' prompt file, beside the rows or in
    /// the folder <c>cot-prompts</c>.
    /// </summary>
    public static TaskDefinition BigBenchHard(string name) => new()
    {
        Name = $"bbh_cot_fewshot_{name}",
        Version = "4.0",
        Data = TaskCatalogue.BigBenchData,
        Splits = [name],
        ListField = "examples",
        Delimiter = string.Empty,
        DefaultShots = 3,
        Description = folder => ReadPrompt(folder, name).Description,
        FewShot = FewShotRule.FromFile(folder => ReadPrompt(folder, name).Examples),
        Reader = () => row => Thought(row.Text("input"), row.Text("target")),
    };

    /// <summary>The prompt file of a task, and null where there is none.</summary>
    public static string? FindPrompt(string folder, string name) =>
        new[] { Path.Combine(folder, $"{name}.cot-prompt.txt"), Path.Combine(folder, "cot-prompts", $"{name}.txt"), Path.Combine(folder, "..", "cot-prompts", $"{name}.txt") }
            .FirstOrDefault(File.Exists);

    private static AnswerItem Thought(string input, string target) => new($"Q: {input}{Thinking}\n", target, BigBench);

    /// <summary>
    /// A prompt file: a warning and a line of dashes, the task's description, then questions and answers. The harness breaks the line after the invitation to
    /// think, wherever the file does.
    /// </summary>
    private static (string Description, IReadOnlyList<TaskItem> Examples) ReadPrompt(string folder, string name)
    {
        string path = FindPrompt(folder, name) ?? throw new TaskDataException($"{folder}: expected the prompt file {name}.cot-prompt.txt or cot-prompts/{name}.txt, found neither.");
        string text = File.ReadAllText(path).ReplaceLineEndings("\n");
        int dashes = text.IndexOf("-----\n", StringComparison.Ordinal);
        string[] parts = (dashes < 0 ? text : text[(dashes + 6)..]).Split("\n\nQ: ");
        var examples = new List<TaskItem>();
        foreach ((int index, string part) in parts.Skip(1).Index())
        {
            int invitation = part.IndexOf(Thinking, StringComparison.Ordinal);
            examples.Add(invitation >= 0
                ? Thought(part[..invitation], PythonText.Strip(part[(invitation + Thinking.Length)..]))
                : throw new TaskDataException(FormattableString.Invariant(
                    $"{path}, example {index + 1}: expected an answer that begins with \"{Thinking[1..]}\", found none.")));
        }

        return (PythonText.Strip(parts[0]) + FewShotRule.Between, examples);
    }

    [GeneratedRegex(@"#### (\-?[0-9\.\,]+)", RegexOptions.CultureInvariant)]
    private static partial Regex MarkedNumber();

    [GeneratedRegex(@"(-?[$0-9.,]{2,})|(-?[0-9]+)", RegexOptions.CultureInvariant)]
    private static partial Regex AnyNumber();

    [GeneratedRegex("(?s).*#### ", RegexOptions.CultureInvariant)]
    private static partial Regex UpToMark();

    [GeneratedRegex(@"\.$", RegexOptions.CultureInvariant)]
    private static partial Regex LastStop();

    [GeneratedRegex("(?<=the answer is )(.*)(?=.)", RegexOptions.CultureInvariant)]
    private static partial Regex SaidAnswer();
}
