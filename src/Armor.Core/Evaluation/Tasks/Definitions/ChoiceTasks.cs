using System.Text.RegularExpressions;
using Armor.Core.Evaluation.Tasks.Data;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>The tasks of one question and several answers.</summary>
internal static partial class ChoiceTasks
{
    /// <summary>ARC (Clark et al., arXiv 1803.05457).</summary>
    /// <param name="name"><c>arc_easy</c> or <c>arc_challenge</c>.</param>
    /// <param name="folder">The subset's published name.</param>
    public static TaskDefinition Arc(string name, string folder) => new()
    {
        Name = name,
        Version = "1.0",
        Data = new TaskDataSet(name, name, folder, $"ai2_arc/{folder}"),
        Splits = ["test", "validation"],
        Reader = () => row => Labelled(row, $"Question: {row.Text("question")}\nAnswer:", row.Text("answerKey")),
    };

    /// <summary>OpenBookQA (Mihaylov et al., arXiv 1809.02789), without the book.</summary>
    public static TaskDefinition OpenBookQA() => new()
    {
        Name = "openbookqa",
        Version = "1.0",
        Data = new TaskDataSet("openbookqa", "openbookqa", "openbookqa/main"),
        Splits = ["test", "validation"],
        Reader = () => row => Labelled(row, row.Text("question_stem"), PythonText.StripStart(row.Text("answerKey"))),
    };

    /// <summary>SciQ (Welbl et al., arXiv 1707.06209), with the passage that supports the answer.</summary>
    public static TaskDefinition SciQ() => new()
    {
        Name = "sciq",
        Version = "1.0",
        Data = new TaskDataSet("sciq", "sciq"),
        Splits = ["test", "validation"],
        Reader = () => row => new ChoiceItem(
            $"{PythonText.StripStart(row.Text("support"))}\nQuestion: {row.Text("question")}\nAnswer:",
            [row.Text("distractor1"), row.Text("distractor2"), row.Text("distractor3"), row.Text("correct_answer")],
            Gold: 3,
            IsNormalized: true),
    };

    /// <summary>RTE as GLUE publishes it (Wang et al., arXiv 1804.07461).</summary>
    public static TaskDefinition Rte() => new()
    {
        Name = "rte",
        Version = "1.0",
        Data = new TaskDataSet("rte", "rte", "glue/rte"),
        Splits = ["validation"],
        FewShot = FewShotRule.SampledOthers("train", "validation"),
        Reader = () => row => new ChoiceItem(
            $"{row.Text("sentence1")}\nQuestion: {row.Text("sentence2")} True or False?\nAnswer:", ["True", "False"], row.Integer("label", 0, 1), IsNormalized: false),
    };

    /// <summary>HellaSwag (Zellers et al., arXiv 1905.07830); also rows that were prepared before, with query, choices and gold.</summary>
    public static TaskDefinition HellaSwag() => new()
    {
        Name = "hellaswag",
        Version = "1.0",
        Data = new TaskDataSet("hellaswag", "hellaswag"),
        Splits = ["validation"],
        FewShot = FewShotRule.SampledOthers("train", "validation"),
        Reader = () => row =>
        {
            if (row.Has("query") && row.Has("choices"))
            {
                IReadOnlyList<string> choices = row.Texts("choices");
                return new ChoiceItem(row.Text("query"), choices, row.Integer("gold", 0, choices.Count - 1), IsNormalized: true);
            }

            IReadOnlyList<string> endings = row.Texts("endings");
            string context = $"{row.Text("activity_label")}: {row.Text("ctx_a")} {PythonText.Capitalize(row.Text("ctx_b"))}";
            return new ChoiceItem(WithoutMarks(context), [.. endings.Select(WithoutMarks)], row.Integer("label", 0, endings.Count - 1), IsNormalized: true);
        },
    };

    /// <summary>PIQA (Bisk et al., arXiv 1911.11641).</summary>
    public static TaskDefinition Piqa() => new()
    {
        Name = "piqa",
        Version = "1.0",
        Data = new TaskDataSet("piqa", "piqa"),
        Splits = ["validation"],
        FewShot = FewShotRule.SampledOthers("train", "validation"),
        Reader = () => row => new ChoiceItem(
            $"Question: {row.Text("goal")}\nAnswer:", [row.Text("sol1"), row.Text("sol2")], row.Integer("label", 0, 1), IsNormalized: true),
    };

    /// <summary>WinoGrande (Sakaguchi et al., arXiv 1907.10641), by partial evaluation: what follows the blank is scored after each filling.</summary>
    public static TaskDefinition WinoGrande() => new()
    {
        Name = "winogrande",
        Version = "1.0",
        Data = new TaskDataSet("winogrande", "winogrande", "winogrande/winogrande_xl"),
        Splits = ["validation"],
        FewShot = FewShotRule.SampledOthers("train", "validation"),
        Reader = () => row =>
        {
            string sentence = row.Text("sentence");
            int blank = sentence.IndexOf('_', StringComparison.Ordinal);
            return blank >= 0
                ? new BlankItem(
                    [sentence[..blank] + row.Text("option1"), sentence[..blank] + row.Text("option2")],
                    PythonText.Strip(sentence[(blank + 1)..]),
                    row.Integer("answer", 1, 2) - 1)
                : throw row.Wrong("sentence", "a sentence with a blank, _", TaskRow.Show(sentence));
        },
    };

    /// <summary>BoolQ (Clark et al., arXiv 1905.10044) as SuperGLUE publishes it, or with <c>answer</c> true or false as its authors do.</summary>
    public static TaskDefinition BoolQ() => new()
    {
        Name = "boolq",
        Version = "2.0",
        Data = new TaskDataSet("boolq", "boolq", "super_glue/boolq"),
        Splits = ["validation", "dev"],
        FewShot = FewShotRule.SampledOthers("train", "validation", "dev"),
        Reader = () => row => new ChoiceItem(
            $"{row.Text("passage")}\nQuestion: {row.Text("question")}?\nAnswer:",
            ["no", "yes"],
            row.Has("label") ? row.Integer("label", 0, 1) : row.Truth("answer") ? 1 : 0,
            IsNormalized: false),
    };

    /// <summary>A subject of MMLU (Hendrycks et al., arXiv 2009.03300); its examples are the first rows of the dev split.</summary>
    public static TaskDefinition Mmlu(string subject) => new()
    {
        Name = $"mmlu_{subject}",
        Version = "1.0",
        Data = TaskCatalogue.MmluData,
        Subset = subject,
        Splits = ["test"],
        Description = _ => $"The following are multiple choice questions (with answers) about {subject.Replace('_', ' ')}.\n\n",
        DefaultShots = 5,
        FewShot = FewShotRule.First("dev"),
        Reader = () => row =>
        {
            IReadOnlyList<string> choices = row.Texts("choices", 4);
            string question = $"{PythonText.Strip(row.Text("question"))}\nA. {choices[0]}\nB. {choices[1]}\nC. {choices[2]}\nD. {choices[3]}\nAnswer:";
            return new ChoiceItem(question, ["A", "B", "C", "D"], row.Integer("answer", 0, 3), IsNormalized: false);
        },
    };

    /// <summary>A question whose choices have labels, one of which is the key.</summary>
    private static ChoiceItem Labelled(TaskRow row, string question, string key)
    {
        TaskRow choices = row.Part("choices");
        IReadOnlyList<string> texts = choices.Texts("text");
        IReadOnlyList<string> labels = choices.Texts("label", texts.Count);
        int gold = labels.ToList().IndexOf(key);
        return gold >= 0
            ? new ChoiceItem(question, texts, gold, IsNormalized: true)
            : throw row.Wrong("answerKey", $"one of {string.Join(", ", labels)}", TaskRow.Show(key));
    }

    /// <summary>Takes the marks of WikiHow's pages out of HellaSwag's texts.</summary>
    private static string WithoutMarks(string text) =>
        Marks().Replace(PythonText.Strip(text).Substitute(" [title]", ". "), string.Empty).Substitute("  ", " ");

    [GeneratedRegex(@"\[.*?\]", RegexOptions.CultureInvariant)]
    private static partial Regex Marks();
}
