using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Generation;

/// <summary>Several sequences at once against each of them alone.</summary>
public sealed class BatchTests
{
    private static readonly IEnumerable<string> Families = FamilyModels.All.Keys;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void LogitsOfSeveralSessionsAreThoseOfEach([ValueSource(nameof(Families))] string family)
    {
        using ArmorModel model = ArmorModel.Load(Write(family));
        int vocabulary = model.Configuration.VocabularySize;
        var random = new Random(4);
        int[][] sequences = [.. new[] { 0, 1, 40, 70, 3 }.Select(length => Tokens(length, vocabulary, random))];
        GenerationSession[] sessions = [.. sequences.Select(sequence => Session(model, sequence))];
        GenerationSession[] alone = [.. sequences.Select(sequence => Session(model, sequence))];
        for (int step = 0; step < 4; step++)
        {
            int[] tokens = Tokens(sessions.Length, vocabulary, random);
            var logits = new float[tokens.Length * vocabulary];
            model.ForwardBatch(sessions, tokens, logits);
            for (int i = 0; i < tokens.Length; i++)
            {
                var expected = new float[vocabulary];
                model.ForwardLogits([tokens[i]], alone[i], expected);
                Assert.That(logits[(i * vocabulary)..((i + 1) * vocabulary)], Is.EqualTo(expected).Within(1e-5f), $"step {step}, sequence {i}");
                Assert.That(sessions[i].Length, Is.EqualTo(alone[i].Length));
            }
        }
    }

    [Test]
    public void MoreSessionsThanOnePassTakes()
    {
        using ArmorModel model = ArmorModel.Load(TinyLlama.Write(folder.File("tiny")));
        int vocabulary = model.Configuration.VocabularySize;
        GenerationSession[] sessions = [.. Enumerable.Range(0, 150).Select(_ => model.CreateSession())];
        int[] tokens = Tokens(150, vocabulary, new Random(1));
        var logits = new float[150 * vocabulary];
        model.ForwardBatch(sessions, tokens, logits);
        for (int i = 0; i < 150; i += 29)
        {
            var expected = new float[vocabulary];
            model.ForwardLogits([tokens[i]], model.CreateSession(), expected);
            Assert.That(logits[(i * vocabulary)..((i + 1) * vocabulary)], Is.EqualTo(expected).Within(1e-5f));
        }
    }

    [Test]
    public void BadBatchesAreRefusedAndChangeNothing()
    {
        using ArmorModel model = ArmorModel.Load(TinyLlama.Write(folder.File("tiny")));
        using ArmorModel other = ArmorModel.Load(folder.File("tiny"));
        GenerationSession first = Session(model, [1, 2]);
        GenerationSession full = Session(model, [.. Enumerable.Repeat(3, TinyLlama.ContextLength)]);
        var logits = new float[2 * TinyLlama.VocabularySize];
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Multiple(() =>
        {
            Assert.That(() => model.ForwardBatch([first, full], [1, 2], logits), Throws.ArgumentException.With.Message.Contains("of which 24 are taken"));
            Assert.That(() => model.ForwardBatch([first, first], [1, 2], logits), Throws.InvalidOperationException.With.Message.Contains("twice"));
            Assert.That(() => model.ForwardBatch([first, other.CreateSession()], [1, 2], logits), Throws.ArgumentException.With.Message.Contains("another model"));
            Assert.That(() => model.ForwardBatch([first, model.CreateSession()], [1, 64], logits), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => model.ForwardBatch([first], [1, 2], logits), Throws.ArgumentException.With.Message.Contains("found 2 tokens"));
            Assert.That(() => model.ForwardBatch([first, model.CreateSession()], [1, 2], logits.AsSpan(1)), Throws.ArgumentException);
            Assert.That(
                () => model.ForwardBatch([first, model.CreateSession()], [1, 2], logits, cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        });
        Assert.That(first.Length, Is.EqualTo(2));
        Assert.That(() => model.ForwardBatch([first, model.CreateSession()], [1, 2], logits), Throws.Nothing);
        Assert.That(first.Length, Is.EqualTo(3));
    }

    [Test]
    public void ABatchGivesWhatEachPromptGivesAlone([Values(1, 2, 3, 16)] int mostAtOnce, [Values] bool sampled)
    {
        using ArmorModel model = ArmorModel.Load(RecitingModel.WriteChain(folder.File("reciter"), "abcdefg"u8.ToArray(), context: 24));
        GenerationOptions options = new() { Temperature = sampled ? 12 : 0, Seed = 7, MaxTokens = 9, StopStrings = ["ef"] };
        string[] prompts = ["a", "so: f", "c", "d", "bb", new string('x', 20)];
        var updates = new List<BatchUpdate>();
        IReadOnlyList<GenerationResult> results = model.GenerateBatch(prompts, options, mostAtOnce, new Synchronous(updates));
        for (int i = 0; i < prompts.Length; i++)
        {
            GenerationUpdate[] alone = [.. model.Stream(model.Tokenizer.Encode(prompts[i]), options with { Seed = 7 + i })];
            Assert.That(results[i].Text, Is.EqualTo(string.Concat(alone.Select(update => update.Text))));
            Assert.That(results[i].Tokens, Is.EqualTo(alone.Where(update => update.Token is not null).Select(update => update.Token!.Value)));
            Assert.That(results[i].FinishReason, Is.EqualTo(alone[^1].FinishReason));
            Assert.That(results[i].PromptTokens, Is.EqualTo(alone[^1].PromptTokens));
            Assert.That(updates.Where(update => update.Prompt == i).Select(update => update.Update), Is.EqualTo(alone));
        }

        if (!sampled)
        {
            Assert.That(results.Select(result => result.FinishReason).Distinct().Count(), Is.GreaterThan(1), "they end for different reasons");
        }
    }

    [Test]
    public void BadBatchesOfPromptsAreRefusedBeforeAnythingIsComputed()
    {
        using ArmorModel model = ArmorModel.Load(TinyLlama.Write(folder.File("tiny")));
        var updates = new List<BatchUpdate>();
        Assert.Multiple(() =>
        {
            Assert.That(() => Generate([[1], []]), Throws.ArgumentException.With.Message.Contains("no tokens"));
            Assert.That(() => Generate([[1], new int[25]]), Throws.ArgumentException.With.Message.Contains("25 tokens"));
            Assert.That(() => Generate([[1], [64]]), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => Generate([[1]], 0), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => model.GenerateBatch(["a"]), Throws.TypeOf<CheckpointException>());
        });
        Assert.That(updates, Is.Empty);
        Assert.That(Generate([]), Is.Empty);

        IReadOnlyList<GenerationResult> Generate(int[][] prompts, int mostAtOnce = 2) =>
            model.GenerateTokenBatch(prompts, mostAtOnce: mostAtOnce, progress: new Synchronous(updates));
    }

    [Test]
    [Category("SharedData")]
    public void SharedModelsTellSeveralStoriesAtOnce()
    {
        using ArmorModel model = ArmorModel.Load(SharedData.Path("models/stories260K"));
        string[] prompts = ["Once upon a time", "Tom", "The little dog was", "One day, a girl named Lily"];
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = 40 };
        Assert.That(
            model.GenerateBatch(prompts, options).Select(result => result.Text),
            Is.EqualTo(prompts.Select(prompt => string.Concat(model.Generate(prompt, options)))));
    }

    private static int[] Tokens(int count, int vocabulary, Random random) => [.. Enumerable.Range(0, count).Select(_ => random.Next(vocabulary))];

    private static GenerationSession Session(ArmorModel model, int[] tokens)
    {
        GenerationSession session = model.CreateSession();
        model.ForwardLogits(tokens, session, []);
        return session;
    }

    private string Write(string family) =>
        FamilyModels.WritePruned(FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All[family]), folder.File("pruned"));

    private sealed class Synchronous(List<BatchUpdate> updates) : IProgress<BatchUpdate>
    {
        public void Report(BatchUpdate value) => updates.Add(value);
    }
}
