using Armor.Core.Modules;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Tokenization;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Generation;

/// <summary>The managed forward pass against the one in TorchSharp.</summary>
public sealed class ForwardLogitsTests
{
    private static readonly IEnumerable<string> Families = FamilyModels.All.Keys;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void LogitsAreThoseOfTheTorchModel([ValueSource(nameof(Families))] string family, [Values] bool pruned)
    {
        string model = Write(family, pruned);
        var random = new Random(3);
        int[] tokens = [.. Enumerable.Range(0, 150).Select(_ => random.Next(FamilyModels.All[family].VocabularySize))];
        AssertEqualsTorch(model, tokens, new CpuBackend());
    }

    [Test]
    public void TheBackendIsTheOneOfTheOptions()
    {
        string model = Write("Qwen3", pruned: true);
        AssertEqualsTorch(model, [.. Enumerable.Range(0, 40)], new ReferenceBackend());
        using ArmorModel reference = ArmorModel.Load(model, new ArmorModelOptions { Backend = new ReferenceBackend() });
        using ArmorModel simd = ArmorModel.Load(model);
        Assert.That(Logits(reference, [3, 1, 4]), Is.Not.EqualTo(Logits(simd, [3, 1, 4])), "rounding differs between backends");
    }

    [Test]
    public void LogitsDoNotDependOnHowTheTokensArriveOrOnWhatWasRewound([Values(0, 1, 2)] int seed)
    {
        using ArmorModel model = ArmorModel.Load(Write("Mistral, sliding window", pruned: true));
        int vocabulary = model.Configuration.VocabularySize;
        var random = new Random(seed);
        int[] tokens = [.. Enumerable.Range(0, model.Configuration.ContextLength).Select(_ => random.Next(vocabulary))];
        float[] whole = Logits(model, tokens);

        GenerationSession session = model.CreateSession();
        for (int start = 0, count; start < tokens.Length; start += count)
        {
            count = Math.Min(random.Next(1, 100), tokens.Length - start);
            if (random.Next(2) == 0)
            {
                model.ForwardLogits(tokens.AsSpan(0, Math.Min(3, tokens.Length - start)), session, []);
                session.Rewind(start);
            }

            var logits = new float[random.Next(1, count + 1) * vocabulary];
            model.ForwardLogits(tokens.AsSpan(start, count), session, logits);
            Assert.That(session.Length, Is.EqualTo(start + count));
            Assert.That(logits, Is.EqualTo(whole[(((start + count) * vocabulary) - logits.Length)..((start + count) * vocabulary)]));
        }
    }

    [Test]
    public void ACancelledPassLeavesTheSessionAsItWas()
    {
        string path = Write("Llama 3", pruned: false);
        using var source = new CancellationTokenSource();
        using ArmorModel model = ArmorModel.Load(path, new ArmorModelOptions { Backend = new Cancelling(source, afterProducts: 40) });
        GenerationSession session = model.CreateSession();
        var logits = new float[model.Configuration.VocabularySize];
        model.ForwardLogits([5, 6, 7], session, logits);
        int[] tokens = [.. Enumerable.Range(0, 67)];

        Assert.That(() => model.ForwardLogits(tokens, session, logits, source.Token), Throws.InstanceOf<OperationCanceledException>());

        Assert.That(session.Length, Is.EqualTo(3));
        model.ForwardLogits(tokens, session, logits);
        Assert.That(logits, Is.EqualTo(Logits(model, [5, 6, 7, .. tokens])[^logits.Length..]));
    }

    [Test]
    public void BadCallsAreRefused()
    {
        string path = Write("Llama 2", pruned: false);
        using ArmorModel model = ArmorModel.Load(path);
        using ArmorModel other = ArmorModel.Load(path);
        GenerationSession session = model.CreateSession();
        Assert.Multiple(() =>
        {
            Assert.That(() => model.ForwardLogits([1], other.CreateSession(), []), Throws.ArgumentException.With.Message.Contains("another model"));
            Assert.That(() => model.ForwardLogits([1, 67], session, []), Throws.InstanceOf<ArgumentException>().With.Message.Contains("67"));
            Assert.That(() => model.ForwardLogits([1, -1], session, []), Throws.InstanceOf<ArgumentException>().With.Message.Contains("-1"));
            Assert.That(() => model.ForwardLogits([1], session, new float[66]), Throws.ArgumentException.With.Message.Contains("rows of 67"));
            Assert.That(() => model.ForwardLogits([1], session, new float[2 * 67]), Throws.ArgumentException.With.Message.Contains("0 to 1 rows"));
            Assert.That(() => session.Rewind(1), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => session.Rewind(-1), Throws.InstanceOf<ArgumentOutOfRangeException>());
        });
        model.ForwardLogits(new int[100], session, []);
        Assert.That(
            () => model.ForwardLogits(new int[61], session, []), Throws.ArgumentException.With.Message.Contains("160 tokens, of which 100 are taken"));
        Assert.That(() => model.ForwardLogits(new int[60], session, []), Throws.Nothing);
    }

    [Test]
    [Category("SharedData")]
    public void SharedModelsGiveTheLogitsOfTheTorchModel([Values("babyllama361", "stories260K")] string name, [Values] bool pruned)
    {
        string model = SharedData.Path($"models/{name}");
        string text = File.ReadAllText(SharedData.Path("text/eval/tinystories-eval.txt"))[..4000];
        int[] tokens = [.. ModelTokenizer.Load(model).Encode(text).Take(256)];
        AssertEqualsTorch(pruned ? FamilyModels.WriteFactorised(model, folder.File("pruned")) : model, tokens, new CpuBackend());
    }

    [Test]
    public void TheEmbeddedModelGivesTheLogitsOfTheTorchModel([Values] bool pruned)
    {
        string model = RepositoryFolder.Path("assets/armor-tiny");
        string text = File.ReadAllText(Path.Combine(model, "evaluation.txt"));
        int[] tokens = [.. ModelTokenizer.Load(model).Encode(text).Take(160)];
        AssertEqualsTorch(pruned ? FamilyModels.WriteFactorised(model, folder.File("pruned")) : model, tokens, new CpuBackend());
    }

    private static void AssertEqualsTorch(string folder, int[] tokens, IKernelBackend backend)
    {
        float[] expected = TorchLogits(folder, tokens);
        using ArmorModel model = ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend });
        Assert.That(Difference(Logits(model, tokens), expected), Is.LessThan(1e-4), "one prefill");

        GenerationSession session = model.CreateSession();
        int vocabulary = model.Configuration.VocabularySize;
        var logits = new float[vocabulary];
        for (int i = 0; i < tokens.Length; i++)
        {
            model.ForwardLogits([tokens[i]], session, logits);
            Assert.That(Difference(logits, expected[(i * vocabulary)..((i + 1) * vocabulary)]), Is.LessThan(1e-4), $"token {i} through the cache");
        }
    }

    private static double Difference(float[] found, float[] expected) => found.Zip(expected, (x, y) => (double)MathF.Abs(x - y)).Max();

    private static float[] TorchLogits(string folder, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using CausalLanguageModel model = CausalLanguageModel.Load(folder);
        return model.Forward(tensor(Array.ConvertAll(tokens, token => (long)token)).unsqueeze(0)).data<float>().ToArray();
    }

    private static float[] Logits(ArmorModel model, int[] tokens)
    {
        var logits = new float[tokens.Length * model.Configuration.VocabularySize];
        model.ForwardLogits(tokens, model.CreateSession(), logits);
        return logits;
    }

    private string Write(string family, bool pruned)
    {
        string dense = FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All[family]);
        return pruned ? FamilyModels.WritePruned(dense, folder.File("pruned")) : dense;
    }

    /// <summary>Cancels when it has multiplied so often.</summary>
    private sealed class Cancelling(CancellationTokenSource source, int afterProducts) : DenseOnlyBackend
    {
        private int products;

        protected override void Multiplying(int rows)
        {
            if (++products == afterProducts)
            {
                source.Cancel();
            }
        }
    }
}
