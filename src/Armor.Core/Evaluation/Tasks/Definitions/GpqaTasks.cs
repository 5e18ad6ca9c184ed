using System.Text.RegularExpressions;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>GPQA (Rein et al., arXiv 2311.12022). The order of the answers is drawn by Python's generator, once through the file.</summary>
internal static partial class GpqaTasks
{
    private static readonly string[] Letters = ["(A)", "(B)", "(C)", "(D)"];
    private static readonly string[] ThoughtStops = ["</s>"];

    /// <summary>The answers' letters as continuations of the bare question.</summary>
    /// <param name="subset">diamond, main or extended.</param>
    public static TaskDefinition ZeroShot(string subset) => Create(
        subset,
        "zeroshot",
        seed: 0,
        (question, choices, gold) => new ChoiceItem($"What is the correct answer to this question:{question}\n{List(choices)}Answer:", Letters, gold, IsNormalized: true));

    /// <summary>The answers' letters as continuations of a question after others of its kind.</summary>
    /// <param name="subset">diamond, main or extended.</param>
    public static TaskDefinition FewShot(string subset) => Create(
        subset,
        "n_shot",
        seed: 42,
        (question, choices, gold) => new ChoiceItem($"Question: {question}\n{List(choices)}Answer:", Letters, gold, IsNormalized: true)) with
    {
        Description = _ => "Here are some example questions from experts. Answer the final question yourself, following the format of the previous questions exactly.\n",
    };

    /// <summary>The question with an invitation to think; the answer is generated.</summary>
    /// <param name="subset">diamond, main or extended.</param>
    public static TaskDefinition ChainOfThought(string subset) => Create(
        subset,
        "cot_zeroshot",
        seed: 0,
        (question, choices, gold) => new AnswerItem(
            $"What is the correct answer to this question:{question}\n{List(choices)}Let's think step by step: ",
            Letters[gold],
            new AnswerRule(
                ThoughtStops,
                256, // the harness's where a task names no other
                [new ChoiceFilter("flexible-extract", choices), new PatternFilter("strict-match", SaidAnswer(), TakesLast: false)],
                text => Punctuation().Replace(text.ToLowerInvariant(), string.Empty))));

    private static TaskDefinition Create(string subset, string kind, uint seed, Func<string, IReadOnlyList<string>, int, TaskItem> item) => new()
    {
        Name = $"gpqa_{subset}_{kind}",
        Version = "2.2",
        Data = new Data.TaskDataSet("gpqa", "gpqa"),
        Subset = $"gpqa_{subset}",
        Splits = ["train"], // the only one that is published
        FewShot = FewShotRule.SampledOthers("train"),
        Reader = () =>
        {
            var random = new PythonRandom(seed);
            return row =>
            {
                string right = Prepared(row.OptionalText("Correct Answer"));
                string[] choices = [.. Enumerable.Range(1, 3).Select(number => Prepared(row.OptionalText($"Incorrect Answer {number}"))), right];
                random.Shuffle(choices);
                return item(row.Text("Question"), choices, Array.IndexOf(choices, right));
            };
        },
    };

    private static string List(IReadOnlyList<string> choices) => $"Choices:\n{string.Concat(choices.Select((choice, index) => $"{Letters[index]} {choice}\n"))}";

    private static string Prepared(string? text) =>
        text is null ? " " : PythonText.Strip(text).Substitute(" [title]", ". ").Substitute("  ", " ");

    [GeneratedRegex("(?<=The answer is )(.*)(?=.)", RegexOptions.CultureInvariant)]
    private static partial Regex SaidAnswer();

    /// <summary>Python's <c>string.punctuation</c>.</summary>
    [GeneratedRegex("[!-/:-@[-`{-~]", RegexOptions.CultureInvariant)]
    private static partial Regex Punctuation();
}
