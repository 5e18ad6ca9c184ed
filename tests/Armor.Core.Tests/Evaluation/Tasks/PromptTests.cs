using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Definitions;

namespace Armor.Core.Tests.Evaluation.Tasks;

/// <summary>Prompts on rows in the published layouts, written by hand from the harness's task definitions.</summary>
public sealed class PromptTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void SetUp() => folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => folder.Dispose();

    [Test]
    public void HellaSwag()
    {
        TaskRows.Write(folder, "hellaswag/validation.jsonl",
            """{"activity_label":"Baking","ctx_a":" A man [header] stands.","ctx_b":"he Then goes [title] Mix  it","endings":["one [step] two","b"," c ","d"],"label":"2"}""");
        PreparedTask task = TaskRows.Load(folder.Path, "hellaswag");

        Assert.That(TaskRows.Continuations(task), Is.EqualTo(new[]
        {
            ("Baking: A man stands. He then goes. mix it", " one two"),
            ("Baking: A man stands. He then goes. mix it", " b"),
            ("Baking: A man stands. He then goes. mix it", " c"),
            ("Baking: A man stands. He then goes. mix it", " d"),
        }));
        Assert.That(task.Prompts[0].Item.Target, Is.EqualTo("c"));
    }

    [Test]
    public void WinoGrandeScoresWhatFollowsTheBlank()
    {
        TaskRows.Write(folder, "winogrande/validation.jsonl", """{"sentence":"Ann met Bo and _ smiled.","option1":"Ann","option2":"Bo","answer":"2"}""");
        PreparedTask task = TaskRows.Load(folder.Path, "winogrande");

        Assert.That(TaskRows.Continuations(task), Is.EqualTo(new[] { ("Ann met Bo and Ann", " smiled."), ("Ann met Bo and Bo", " smiled.") }));
        Assert.That(task.Prompts[0].Item.Example(" "), Is.EqualTo("Ann met Bo and Bo smiled."));
    }

    [Test]
    public void ArcAndPiqaKeepTheChoicesAsTheyAre()
    {
        TaskRows.Write(folder, "arc_easy/test.jsonl", """{"question":"Why?","choices":{"text":["x","y "],"label":["1","2"]},"answerKey":"2"}""");
        TaskRows.Write(folder, "piqa/validation.jsonl", """{"goal":"dresser","sol1":"pin ","sol2":"  paint","label":1}""");

        PreparedTask arc = TaskRows.Load(folder.Path, "arc_easy");
        Assert.That(TaskRows.Continuations(arc), Is.EqualTo(new[] { ("Question: Why?\nAnswer:", " x"), ("Question: Why?\nAnswer:", " y ") }));
        Assert.That(((ChoiceItem)arc.Prompts[0].Item).Gold, Is.EqualTo(1));
        Assert.That(TaskRows.Continuations(TaskRows.Load(folder.Path, "piqa"))[1], Is.EqualTo(("Question: dresser\nAnswer:", "   paint")));
    }

    [Test]
    public void OpenBookQASciQAndRte()
    {
        TaskRows.Write(folder, "openbookqa/test.jsonl", """{"id":"1","question_stem":"The sun is","choices":{"text":["far "," hot"],"label":["A","B"]},"answerKey":" B"}""");
        TaskRows.Write(folder, "sciq/test.jsonl",
            """{"question":"What?","distractor3":"c","distractor1":"a","distractor2":"b ","correct_answer":"d","support":" \n\u00a0It is  d. "}""",
            """{"question":"What?","distractor3":"c","distractor1":"a","distractor2":"b","correct_answer":"d","support":""}""");
        TaskRows.Write(folder, "glue/rte/validation.jsonl", """{"sentence1":"He ran.","sentence2":"He moved. ","label":0,"idx":0}""");

        PreparedTask book = TaskRows.Load(folder.Path, "openbookqa");
        Assert.That(TaskRows.Continuations(book), Is.EqualTo(new[] { ("The sun is", " far "), ("The sun is", "  hot") }));
        Assert.That(book.Prompts[0].Item.Target, Is.EqualTo(" hot"));
        PreparedTask science = TaskRows.Load(folder.Path, "sciq");
        Assert.That(TaskRows.Continuations(science), Is.EqualTo(new[] { " a", " b ", " c", " d" }.Select(choice => ("It is  d. \nQuestion: What?\nAnswer:", choice))));
        Assert.That(science.Prompts[0].Item.Target, Is.EqualTo("d"));
        Assert.That(TaskRows.Continuations(science, 1)[0].Context, Is.EqualTo("\nQuestion: What?\nAnswer:"));
        PreparedTask entailment = TaskRows.Load(folder.Path, "rte");
        Assert.That(TaskRows.Continuations(entailment), Is.EqualTo(new[] { " True", " False" }.Select(choice => ("He ran.\nQuestion: He moved.  True or False?\nAnswer:", choice))));
        Assert.That(entailment.Prompts[0].Item.Target, Is.EqualTo("True"));
    }

    [TestCase("""{"question":"is it so","passage":"It -- It is so.","idx":0,"label":1}""")]
    [TestCase("""{"question":"is it so","passage":"It -- It is so.","title":"It","answer":true}""")]
    public void BoolQ(string row)
    {
        TaskRows.Write(folder, "boolq/validation.jsonl", row);
        PreparedTask task = TaskRows.Load(folder.Path, "boolq");

        Assert.That(TaskRows.Continuations(task), Is.EqualTo(new[]
        {
            ("It -- It is so.\nQuestion: is it so?\nAnswer:", " no"), ("It -- It is so.\nQuestion: is it so?\nAnswer:", " yes"),
        }));
        Assert.That(task.Prompts[0].Item.Target, Is.EqualTo("yes"));
    }

    [Test]
    public void MmluPutsTheFirstDevRowsBeforeTheQuestion()
    {
        TaskRows.Write(folder, "mmlu/global_facts/test.jsonl", """{"question":" Q? ","choices":["a","b","c","d"],"answer":2}""");
        TaskRows.Write(folder, "mmlu/global_facts/dev.jsonl",
            """{"question":"E1","choices":["e","f","g","h"],"answer":0}""", """{"question":"E2","choices":["i","j","k","l"],"answer":3}""",
            """{"question":"E3","choices":["i","j","k","l"],"answer":3}""");

        (string context, string continuation) = TaskRows.Continuations(TaskRows.Load(folder.Path, "mmlu_global_facts", shots: 2))[2];
        Assert.That(context, Is.EqualTo(
            "The following are multiple choice questions (with answers) about global facts.\n\n"
            + "E1\nA. e\nB. f\nC. g\nD. h\nAnswer: A\n\nE2\nA. i\nB. j\nC. k\nD. l\nAnswer: D\n\nQ?\nA. a\nB. b\nC. c\nD. d\nAnswer:"));
        Assert.That(continuation, Is.EqualTo(" C"));
    }

    [Test]
    public void LambadaScoresTheLastWordWithItsSpace()
    {
        TaskRows.Write(folder, "lambada/test.jsonl", """{"text":"She said  the last word"}""", """{"context":"a b","continuation":"c"}""");
        PreparedTask task = TaskRows.Load(folder.Path, "lambada_openai");

        Assert.That(TaskRows.Continuations(task), Is.EqualTo(new[] { ("She said  the last", " word") }));
        Assert.That(TaskRows.Continuations(task, 1), Is.EqualTo(new[] { ("a b", " c") }));
    }

    [Test]
    public void GpqaShufflesByPythonsGenerator()
    {
        const string Row = """{"Question":"Q","Correct Answer":" right ","Incorrect Answer 1":"w1","Incorrect Answer 2":"w2","Incorrect Answer 3":null}""";
        TaskRows.Write(folder, "gpqa/gpqa_main/train.jsonl", Row, Row);
        PreparedTask task = TaskRows.Load(folder.Path, "gpqa_main_n_shot");

        // random.Random(42) shuffles [0, 1, 2, 3] to [2, 1, 3, 0] and then to [3, 2, 0, 1].
        Assert.That(TaskRows.Continuations(task)[0], Is.EqualTo((
            "Here are some example questions from experts. Answer the final question yourself, following the format of the previous questions exactly.\n"
            + "Question: Q\nChoices:\n(A)  \n(B) w2\n(C) right\n(D) w1\nAnswer:", " (A)")));
        Assert.That(task.Prompts[0].Item.Target, Is.EqualTo("(C)"));
        Assert.That(task.Prompts[1].Item.Target, Is.EqualTo("(A)"));
        Assert.That(TaskRows.Continuations(TaskRows.Load(folder.Path, "gpqa_main_zeroshot"))[0].Context, Does.StartWith("What is the correct answer to this question:Q\nChoices:\n(A) "));
    }

    [Test]
    public void GpqaInvitesToThink()
    {
        const string Row = """{"Question":"Q","Correct Answer":" right ","Incorrect Answer 1":"w1","Incorrect Answer 2":"w2","Incorrect Answer 3":null}""";
        TaskRows.Write(folder, "gpqa/gpqa_main/train.jsonl", Row, Row);
        PreparedTask task = TaskRows.Load(folder.Path, "gpqa_main_cot_zeroshot");

        // As the harness has it after random.seed(0) and one pass through the rows.
        Assert.That(TaskRows.Requests(task), Is.EqualTo(new[]
        {
            new GenerationRequest(
                "What is the correct answer to this question:Q\nChoices:\n(A)  \n(B) w1\n(C) w2\n(D) right\nLet's think step by step: ",
                ((GenerationRequest)TaskRows.Requests(task)[0]).StopStrings,
                256),
        }));
        Assert.That(((GenerationRequest)TaskRows.Requests(task)[0]).StopStrings, Is.EqualTo(new[] { "</s>" }));
        Assert.That(task.Prompts[0].Item.Target, Is.EqualTo("(D)"));
        Assert.That(task.Prompts[1].Item.Target, Is.EqualTo("(C)"));
        Assert.That(Score("I think. The answer is (D)."), Is.EqualTo((1, 1)));
        Assert.That(Score("The answer is d. Or: W2!"), Is.EqualTo((0, 0)));
        Assert.That(Score("The answer is D!\nRight."), Is.EqualTo((0, 1)));
        Assert.That(Score("The answer is D"), Is.EqualTo((0, 0))); // the pattern leaves the last character out

        (int Flexible, int Strict) Score(string text)
        {
            IReadOnlyList<ItemScore> scores = task.Prompts[0].Item.Score([new TaskResponse(0, false, text, false)]);
            Assert.That(scores.Select(score => score.Filter), Is.EqualTo(new[] { "flexible-extract", "strict-match" }));
            return ((int)scores[0].Value, (int)scores[1].Value);
        }
    }

    // What the harness's filter gives.
    [TestCase("So (B). No, (C)!", "(C)")]
    [TestCase("(E) maybe", "(E)")]
    [TestCase("It is the BLUE one", "(B)")]
    [TestCase("an x-ray, or red wine?", "(A)")]
    [TestCase("RED WINE", "(A)")]
    [TestCase("red; blue", "(B)")]
    [TestCase("Answer: D", "(D)")]
    [TestCase("choose:\n A", "(A)")]
    [TestCase("nothing", "[invalid]")]
    [TestCase(" ", "[invalid]")]
    public void AChoiceIsFoundByItsLetterOrItsText(string text, string expected) =>
        Assert.That(new ChoiceFilter("flexible-extract", ["Red wine.", "blue", "Red", "x-ray"]).Extract(text), Is.EqualTo(expected));

    [Test]
    public void ChoicesWithoutATextAndEqualChoices()
    {
        Assert.That(new ChoiceFilter("f", ["...", "b", "c", "d"]).Extract("anything : C"), Is.EqualTo("(C)"));
        Assert.That(new ChoiceFilter("f", ["same", "Same!", "c", "d"]).Extract("I say the same"), Is.EqualTo("(B)"));
    }

    [Test]
    public void Gsm8kDrawsItsExamplesAnewForEachRow()
    {
        TaskRows.Write(folder, "gsm8k/test.jsonl", """{"question":"Q","answer":"So 2.\n#### 1,234"}""", """{"question":"R","answer":"#### 5"}""");
        TaskRows.Write(folder, "gsm8k/train.jsonl", [.. Enumerable.Range(0, 20).Select(i => $$"""{"question":"q{{i}}","answer":"a{{i}}"}""")]);
        PreparedTask task = TaskRows.Load(folder.Path, "gsm8k");

        // random.Random(1234).sample(range(20), 5) is [14, 3, 0, 2, 1], then [2, 3, 11, 7, 0].
        var first = (GenerationRequest)TaskRows.Requests(task)[0];
        Assert.That(first.Prompt, Is.EqualTo(string.Concat(new[] { 14, 3, 0, 2, 1 }.Select(i => $"Question: q{i}\nAnswer: a{i}\n\n")) + "Question: Q\nAnswer:"));
        Assert.That(((GenerationRequest)TaskRows.Requests(task, 1)[0]).Prompt, Does.StartWith("Question: q2\nAnswer: a2\n\nQuestion: q3\nAnswer: a3\n\nQuestion: q11\n"));
        Assert.That(first.StopStrings, Is.EqualTo(new[] { "Question:", "</s>", "<|im_end|>" }));
    }

    [TestCase(" He has 2.\n#### 1,234", 1, 1)]
    [TestCase(" The answer is $1,234.", 1, 0)]
    [TestCase(" #### 1234.\nor 7", 0, 1)]
    [TestCase(" nothing", 0, 0)]
    public void Gsm8kExtractsTheAnswer(string text, int flexible, int strict)
    {
        TaskRows.Write(folder, "gsm8k/test.jsonl", """{"question":"Q","answer":"So 2.\n#### 1,234"}""");
        ItemScore[] scores = [.. TaskRows.Load(folder.Path, "gsm8k", shots: 0).Prompts[0].Item.Score([new TaskResponse(0, false, text, false)])];

        Assert.That(scores, Is.EqualTo(new[]
        {
            new ItemScore("exact_match", "flexible-extract", flexible), new ItemScore("exact_match", "strict-match", strict),
        }));
    }

    [Test]
    public void BigBenchHardReadsTheAuthorsPromptFile()
    {
        TaskRows.Write(folder, "bbh/navigate.json", """{"canary":"x","examples":[{"input":"Go?","target":"No"}]}""");
        TaskRows.Write(folder, "bbh/navigate.cot-prompt.txt",
            "WARNING\n-----\nSay where.\n\nQ: A?\nB\nA: Let's think step by step.\nWe go.\nSo the answer is No.\n\nQ: C?\nA: Let's think step by step. It is. So the answer is Yes.");
        PreparedTask task = TaskRows.Load(folder.Path, "bbh_navigate", shots: 2);

        var request = (GenerationRequest)TaskRows.Requests(task)[0];
        Assert.That(request.Prompt, Is.EqualTo(
            "Say where.\n\nQ: A?\nB\nA: Let's think step by step.\nWe go.\nSo the answer is No.\n\n"
            + "Q: C?\nA: Let's think step by step.\nIt is. So the answer is Yes.\n\nQ: Go?\nA: Let's think step by step.\n"));
        Assert.That(Score(" We go. So the answer is No."), Is.EqualTo(1));
        Assert.That(Score(" So the answer is No"), Is.Zero); // the filter leaves the last character out

        double Score(string text) => task.Prompts[0].Item.Score([new TaskResponse(0, false, text, false)])[0].Value;
    }

    [Test]
    public void WikiTextIsCutIntoPagesAndDetokenized()
    {
        TaskRows.Write(folder, "wikitext/test.txt", " = One = ", " A @-@ b , c ( d ) \" e \" . ", " = = Part = = ", " = Two = ", " Text");
        PreparedTask task = TaskRows.Load(folder.Path, "wikitext");

        Assert.That(task.Prompts, Has.Count.EqualTo(2));
        var page = (DocumentItem)task.Prompts[0].Item;
        Assert.That(page.Text, Is.EqualTo(" = One =\nA-b, c (d) \"e\".\n== Part == "));
        ItemScore words = page.Score([new TaskResponse(-10, false, null, false)])[2];
        Assert.That(words, Is.EqualTo(new ItemScore("word_perplexity", "none", -10, 22)));
    }

    [Test]
    public void ExamplesOfTheMeasuredSplitLeaveTheRowOut()
    {
        string[] rows = [.. Enumerable.Range(0, 4).Select(i => $$"""{"goal":"g{{i}}","sol1":"a{{i}}","sol2":"b{{i}}","label":0}""")];
        TaskRows.Write(folder, "piqa/validation.jsonl", rows);
        PreparedTask task = TaskRows.Load(folder.Path, "piqa", shots: 3);

        for (int row = 0; row < 4; row++)
        {
            string context = TaskRows.Continuations(task, row)[0].Context;
            Assert.That(context.Split($"Question: g{row}\n"), Has.Length.EqualTo(2));
            Assert.That(context.Split("\n\n"), Has.Length.EqualTo(4));
        }
    }

    [Test]
    public void PythonsGenerator()
    {
        var random = new PythonRandom(1234);
        Assert.That(Enumerable.Range(0, 5).Select(_ => random.Bits(32)), Is.EqualTo(new[] { 4150886329u, 3342196574u, 1892932127u, 501869158u, 32175636u }));
        random = new PythonRandom(1234);
        Assert.That(random.Sample(7473, 5), Is.EqualTo(new[] { 6374, 3610, 957, 61, 742 }));
        Assert.That(random.Sample(7473, 5), Is.EqualTo(new[] { 7462, 6610, 4769, 286, 5501 }));
    }
}
