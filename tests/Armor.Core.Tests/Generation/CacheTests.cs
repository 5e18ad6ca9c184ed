using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Core.Tests.Generation;

/// <summary>The memory of a sequence: its type, its limits, and that a token takes no other.</summary>
public sealed class CacheTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void AFloat16CacheGivesNearlyTheSameLogits([Values("Llama 3", "Mistral, sliding window", "Qwen3")] string family)
    {
        string path = FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All[family]);
        using ArmorModel model = ArmorModel.Load(path);
        using ArmorModel half = ArmorModel.Load(path, new ArmorModelOptions { CacheType = TensorElementType.Float16 });
        int[] tokens = [.. Enumerable.Range(0, 150).Select(i => i * 31 % model.Configuration.VocabularySize)];
        var expected = new float[tokens.Length * model.Configuration.VocabularySize];
        var found = new float[expected.Length];
        model.ForwardLogits(tokens, model.CreateSession(), expected);
        half.ForwardLogits(tokens, half.CreateSession(), found);
        double worst = found.Zip(expected, (x, y) => Math.Abs(x - y)).Max();
        Assert.That(worst, Is.InRange(1e-6, 0.02), "rounded, and no more than that");

        GenerationSession session = half.CreateSession();
        var logits = new float[model.Configuration.VocabularySize];
        for (int i = 0; i < 70; i++)
        {
            half.ForwardLogits([tokens[i]], session, logits);
            Assert.That(logits, Is.EqualTo(found[(i * logits.Length)..((i + 1) * logits.Length)]).Within(1e-5f), "keys of the same pass are rounded too");
        }
    }

    [TestCase(TensorElementType.BFloat16)]
    [TestCase(TensorElementType.Float64)]
    public void OtherTypesOfCacheAreRefused(TensorElementType type) =>
        Assert.That(new ArmorModelOptions { CacheType = type }.Validate, Throws.ArgumentException.With.Message.Contains("CacheType"));

    [Test]
    public void MoreThanTheMachineHoldsIsRefusedBeforeAnythingIsComputed()
    {
        string path = TinyLlama.Write(folder.File("endless"));
        string configuration = Path.Combine(path, "config.json");
        File.WriteAllText(configuration, File.ReadAllText(configuration).Replace(
            $"\"max_position_embeddings\":{TinyLlama.ContextLength}", "\"max_position_embeddings\":1073741824", StringComparison.Ordinal));
        using ArmorModel model = ArmorModel.Load(path);
        Assert.That(model.Configuration.ContextLength, Is.EqualTo(1 << 30));
        GenerationOptions options = new() { MaxTokens = int.MaxValue };
        Assert.Multiple(() =>
        {
            Assert.That(
                () => model.GenerateTokens([1], options), Throws.TypeOf<InsufficientMemoryException>().With.Message.Contains("1073741824 positions"));
            Assert.That(() => model.StreamAsync([1], options), Throws.TypeOf<InsufficientMemoryException>());
            Assert.That(() => model.GenerateTokenBatch([[1], [2]], options with { MaxTokens = 1_500_000_000 }), Throws.TypeOf<InsufficientMemoryException>());
            Assert.That(() => model.CreateSession(1 << 30), Throws.TypeOf<InsufficientMemoryException>());
            Assert.That(model.GenerateTokens([1], options with { MaxTokens = 3, StopAtEndOfSequence = false }).Count(), Is.EqualTo(3));
        });
    }

    [Test]
    public void ASessionsCapacityIsWithinTheContext()
    {
        using ArmorModel model = ArmorModel.Load(TinyLlama.Write(folder.File("tiny")));
        Assert.That(() => model.CreateSession(-1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => model.CreateSession(TinyLlama.ContextLength + 1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(model.CreateSession(TinyLlama.ContextLength).Length, Is.Zero);
    }

    [Test]
    public void ATokenAllocatesNothing([Values] bool isHalf, [Values] bool pruned)
    {
        string path = FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All["Llama 3"]);
        path = pruned ? FamilyModels.WritePruned(path, folder.File("pruned")) : path;
        using ArmorModel model = ArmorModel.Load(
            path, new ArmorModelOptions { CacheType = isHalf ? TensorElementType.Float16 : TensorElementType.Float32 });
        ModelConfiguration configuration = model.Configuration;
        GenerationSession[] sessions = [model.CreateSession(150), model.CreateSession(150)];
        var logits = new float[2 * configuration.VocabularySize];
        int[] tokens = [1, 2];
        for (int i = 0; i < 50; i++)
        {
            Step();
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 20; i++)
        {
            Step();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        void Step()
        {
            model.ForwardBatch(sessions, tokens, logits);
            model.ForwardLogits(tokens.AsSpan(0, 1), sessions[0], logits.AsSpan(0, configuration.VocabularySize));
        }
    }

    [Test]
    public void ATokenOfAStreamAllocatesNothing([Values] bool sampled)
    {
        using ArmorModel model = ArmorModel.Load(FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All["Llama 3"]));
        var options = new GenerationOptions
        {
            Temperature = sampled ? 1 : 0, TopP = 0.9, MinP = 0.01, StopTokens = [1000], MaxTokens = 60, StopAtEndOfSequence = false,
        };
        // Beyond the first page of the cache, and before the end of the second.
        using IEnumerator<int> tokens = model.GenerateTokens(new int[70], options).GetEnumerator();
        for (int i = 0; i < 10; i++)
        {
            tokens.MoveNext();
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 40; i++)
        {
            tokens.MoveNext();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }
}
