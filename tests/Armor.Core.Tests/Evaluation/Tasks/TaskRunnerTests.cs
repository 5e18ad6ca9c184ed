using Armor.Core.Evaluation;
using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Results;
using Armor.Core.Evaluation.Tasks.Scoring;
using Armor.Core.Modules;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Evaluation.Tasks;

public sealed class TaskRunnerTests
{
    private const string Configuration =
        """
        {
          "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 260, "max_position_embeddings": 96, "rms_norm_eps": 1e-5,
          "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 256, "eos_token_id": 257
        }
        """;

    private TemporaryFolder folder = null!;
    private string modelFolder = null!;

    [SetUp]
    public void SetUp()
    {
        folder = new TemporaryFolder();
        modelFolder = folder.File("model");
        using (var model = new CausalLanguageModel(ModelConfiguration.Parse(Configuration, "the test"), seed: 5))
        {
            model.Save(modelFolder);
        }

        ByteTokenizer.Write(modelFolder);
        TaskRows.Write(folder, "piqa/validation.jsonl", [.. Enumerable.Range(0, 40).Select(i =>
            $$"""{"goal":"goal {{new string('g', i)}}","sol1":"first {{i * 7}}","sol2":"{{new string('z', 60)}} {{i}}","label":{{i % 2}}}""")]);
        TaskRows.Write(folder, "lambada/test.jsonl", [.. Enumerable.Range(0, 5).Select(i => $$"""{"text":"{{new string('a', 30 * i)}} and word{{i}}"}""")]);
        TaskRows.Write(folder, "gsm8k/test.jsonl", [.. Enumerable.Range(0, 5).Select(i => $$"""{"question":"Q{{new string('q', 9 * i)}}","answer":"#### {{i}}"}""")]);
        TaskRows.Write(folder, "wikitext/test.txt", " = One = ", " " + new string('w', 250), " = Two = ", " x y");
        TaskRows.Write(folder, "winogrande/validation.jsonl", """{"sentence":"Ann met Bo and _ smiled.","option1":"Ann","option2":"Bo","answer":"2"}""");
    }

    [TearDown]
    public void TearDown() => folder.Dispose();

    [Test]
    public void BothBackendsGiveEqualResults()
    {
        string[] tasks = ["piqa", "lambada_openai", "wikitext", "winogrande", "gsm8k"];
        using ArmorModel fast = ArmorModel.Load(modelFolder);
        using CausalLanguageModel torch = CausalLanguageModel.Load(modelFolder);
        using var slow = new TorchScoringModel(torch, ModelTokenizer.Load(modelFolder)) { TokensPerBatch = 200 };
        var options = new TaskRunOptions { Folder = folder.Path, Shots = 0 };

        TaskReport one = TaskRunner.Run(new ArmorScoringModel(fast, workers: 2), tasks, options);
        TaskReport two = TaskRunner.Run(slow, tasks, options);
        TaskReport three = TaskRunner.Run(new ArmorScoringModel(fast) { SharesPrefixes = false }, tasks, options);

        foreach (TaskReport other in new[] { two, three })
        {
            foreach ((TaskResult mine, TaskResult theirs) in one.Tasks.Zip(other.Tasks))
            {
                Assert.That(
                    mine.Answers.SelectMany(answer => answer.Responses).Select(response => response.LogLikelihood),
                    Is.EqualTo(theirs.Answers.SelectMany(answer => answer.Responses).Select(response => response.LogLikelihood)).Within(1e-4).Percent,
                    mine.Task);
                Assert.That(mine.Answers.Select(answer => answer.Responses[0].Text), Is.EqualTo(theirs.Answers.Select(answer => answer.Responses[0].Text)));
                Assert.That(mine.Metrics.Select(metric => metric.Value), Is.EqualTo(theirs.Metrics.Select(metric => metric.Value)).Within(0.01).Percent, mine.Task);
            }
        }

        Assert.That(one.Tasks[0].CutRows, Is.GreaterThan(0).And.LessThan(40)); // the context holds 96 bytes
    }

    [Test]
    public void ScoresAreThoseOfWholeSequences()
    {
        using ArmorModel fast = ArmorModel.Load(modelFolder);
        using CausalLanguageModel torch = CausalLanguageModel.Load(modelFolder);
        int[] tokens = [.. ModelTokenizer.Load(modelFolder).Encode("A text of which all is predicted.")];

        ContinuationScore score = new ArmorScoringModel(fast).Score([new TokenContinuation(tokens, tokens.Length - 1)])[0];

        Assert.That(-score.LogLikelihood, Is.EqualTo(new PerplexityEvaluator(torch).Evaluate([tokens]).SequenceNlls[0].NllSum).Within(1e-3));
    }

    [Test]
    public void ADisposedScorerHasNoSessionsLeft()
    {
        using ArmorModel model = ArmorModel.Load(modelFolder);
        var scoring = new ArmorScoringModel(model, workers: 2);
        scoring.Dispose();
        Assert.That(() => scoring.Score([new TokenContinuation(new[] { 1, 2, 3 }, 1)]), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void ARunGoesOnWhereItStoppedAndOnlyForTheSameModel()
    {
        using ArmorModel model = ArmorModel.Load(modelFolder);
        var scoring = new CountingModel(new ArmorScoringModel(model));
        var options = new TaskRunOptions { Folder = folder.Path, WorkFolder = folder.File("work"), ModelIdentity = "one" };
        TaskReport whole = TaskRunner.Run(scoring, ["piqa"], options);
        Assert.That(scoring.Count, Is.EqualTo(80));

        string file = folder.File("work/piqa.jsonl");
        string[] lines = File.ReadAllLines(file);
        File.WriteAllText(file, string.Join('\n', lines.Take(11)) + "\n" + lines[11][..20]); // ten rows and a piece of the next
        TaskReport resumed = TaskRunner.Run(scoring, ["piqa"], options);
        Assert.That(scoring.Count, Is.EqualTo(80 + 60));
        Assert.That(resumed.Tasks[0].Metrics, Is.EqualTo(whole.Tasks[0].Metrics));

        // Fewer rows, then all again; other prompts, then the former ones.
        Assert.That(TaskRunner.Run(scoring, ["piqa"], options with { Limit = 7 }).Tasks[0].Rows, Is.EqualTo(7));
        Assert.That(TaskRunner.Run(scoring, ["piqa"], options).Tasks[0].Metrics, Is.EqualTo(whole.Tasks[0].Metrics));
        Assert.That(scoring.Count, Is.EqualTo(80 + 60));
        TaskRunner.Run(scoring, ["piqa"], options with { Shots = 1, Limit = 5 });
        TaskRunner.Run(scoring, ["piqa"], options);
        Assert.That(scoring.Count, Is.EqualTo(80 + 60 + 10));

        TaskRunner.Run(scoring, ["piqa"], options with { ModelIdentity = "another" });
        Assert.That(scoring.Count, Is.EqualTo(80 + 60 + 10 + 80));
    }

    [Test]
    public void ComparisonsArePairedByRow()
    {
        using ArmorModel model = ArmorModel.Load(modelFolder);
        var options = new TaskRunOptions { Folder = folder.Path };
        TaskReport report = TaskRunner.Run(new ArmorScoringModel(model), ["piqa", "lambada_openai"], options);

        Assert.That(TaskComparison.Compare(report, report), Has.All.Matches<TaskComparison>(each => each is { Difference: 0, PValue: 1, StandardError: 0 }));
        Assert.That(
            () => TaskComparison.Compare(report, TaskRunner.Run(new ArmorScoringModel(model), ["piqa"], options with { Limit = 3 })),
            Throws.ArgumentException);
    }

    [Test]
    public void ReportsTellWhatDidNotFitTheWindow()
    {
        foreach (string subject in new[] { "anatomy", "virology" })
        {
            // One of three questions is longer than the window of 96 bytes, whose prompts begin with some 80 of description.
            TaskRows.Write(folder, $"mmlu/{subject}/test.jsonl", [.. new[] { 1, 2, 90 }.Select(length =>
                $$"""{"question":"{{new string('q', length)}}","choices":["a","b","c","d"],"answer":1}""")]);
        }

        File.WriteAllText(folder.File("winogrande/validation.jsonl"), """{"sentence":"A _ b.","option1":"c","option2":"d","answer":"2"}""");
        using ArmorModel model = ArmorModel.Load(modelFolder);
        TaskReport report = TaskRunner.Run(
            new ArmorScoringModel(model), ["winogrande", "gsm8k", "mmlu"], new TaskRunOptions { Folder = folder.Path, Shots = 0 });

        TaskResult answers = report.Tasks[1];
        Assert.That((answers.AnswerTokens, answers.WantedAnswerTokens), Is.EqualTo(((int?)48, (int?)256)));
        Assert.That(report.Tasks[0].AnswerTokens, Is.Null);
        int cut = report.Groups[0].CutRows;
        Assert.That(cut, Is.EqualTo(report.Tasks.Skip(2).Sum(task => task.CutRows)).And.GreaterThanOrEqualTo(2));
        Assert.That(report.Notes, Is.EqualTo(new[]
        {
            // Question and "Answer:" have 19 bytes and the start of sequence, and 48 tokens are left for it: of 0 to 36 more letters those of the last row are too many.
            "gsm8k: 1 of 5 rows were cut at their beginning, examples first, to fit the model's window of 96 tokens and leave 48 of them for the answer.",
            "gsm8k: answers had at most 48 tokens instead of 256, which leave no room for a question in a window of 96.",
            $"mmlu: {cut} of 6 rows were cut at their beginning, examples first, to fit the model's window of 96 tokens.",
        }));
        Assert.That(report.ToMarkdown(), Does.EndWith($"\n- {report.Notes[^1]}\n\n"));
        Assert.That((int)report.ToJson()["results"]!["gsm8k"]!["max_gen_toks"]!, Is.EqualTo(48));
    }

    // Two-sided binomial tests at one half: 2·(1 + 5)/32; 2·(1 + 10 + 45)/1024; and a case that exceeds 1.
    [TestCase(1, 4, 0.375)]
    [TestCase(8, 2, 0.109375)]
    [TestCase(3, 3, 1)]
    [TestCase(0, 0, 1)]
    public void McNemarsTestIsExact(int first, int second, double expected) => Assert.That(TaskComparison.McNemar(first, second), Is.EqualTo(expected).Within(1e-12));

    [Test]
    public void GroupsPoolTheirTasks()
    {
        foreach (string subject in new[] { "anatomy", "virology" })
        {
            string[] rows = [.. Enumerable.Range(0, subject.Length).Select(i => $$"""{"question":"{{subject}} {{i}}","choices":["a","b","c","d"],"answer":{{i % 4}}}""")];
            TaskRows.Write(folder, $"mmlu/{subject}/test.jsonl", rows);
            TaskRows.Write(folder, $"mmlu/{subject}/dev.jsonl", rows);
        }

        using ArmorModel model = ArmorModel.Load(modelFolder);
        TaskReport report = TaskRunner.Run(new ArmorScoringModel(model), ["mmlu"], new TaskRunOptions { Folder = folder.Path, Shots = 1 });

        Assert.That(report.Groups.Select(group => group.Task), Is.EqualTo(new[] { "mmlu", "mmlu_stem", "mmlu_other" }));
        Assert.That(report.Groups[0].Rows, Is.EqualTo(15));
        double right = report.Tasks.Sum(task => task.Metrics[0].Value * task.Rows);
        Assert.That(report.Groups[0].Metrics[0].Value, Is.EqualTo(right / 15).Within(1e-12));
        Assert.That(report.ToMarkdown(), Does.Contain("|mmlu_anatomy|1.0|none|1|acc|↑|"));
        Assert.That((double)report.ToJson()["groups"]!["mmlu"]!["acc,none"]!, Is.EqualTo(right / 15).Within(1e-12));
    }

    private sealed class CountingModel(IScoringModel inner) : IScoringModel
    {
        public int Count { get; private set; }

        public ModelConfiguration Configuration => inner.Configuration;

        public ModelTokenizer Tokenizer => inner.Tokenizer;

        public IReadOnlyList<ContinuationScore> Score(IReadOnlyList<TokenContinuation> continuations, CancellationToken cancellationToken = default)
        {
            Count += continuations.Count;
            return inner.Score(continuations, cancellationToken);
        }

        public IReadOnlyList<string> Generate(IReadOnlyList<TokenPrompt> prompts, CancellationToken cancellationToken = default) =>
            inner.Generate(prompts, cancellationToken);
    }
}
