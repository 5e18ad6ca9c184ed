using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;
using static Armor.Runtime.Tests.Generation.HeldTypeModels;

namespace Armor.Runtime.Tests.Generation;

/// <summary>A head in another type than the stored one; what tokens look up must stay as it is stored.</summary>
internal sealed class HeadTypeTests
{
    private const string HeadLinear = "lm_head";
    private const string EmbeddingLinear = "model.embed_tokens";

    private TemporaryFolder folder = null!;
    private string tied = null!;
    private string separate = null!;

    [SetUp]
    public void WriteModels()
    {
        folder = new TemporaryFolder();
        tied = Write(folder.File("tied"), Tied);
        separate = Write(folder.File("separate"), Tied with { TieWordEmbeddings = false });
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    /// <summary>Against a model that stores the rounded head beside the exact embedding.</summary>
    [Test]
    public void TheHeadIsRoundedAndNothingElse([Values] bool isTied)
    {
        var model = isTied ? tied : separate;
        var rounded = Write(folder.File("rounded"), Tied with { TieWordEmbeddings = false }, RoundedHead(model, isTied ? ModelShapes.Embedding : ModelShapes.Head));
        var expected = Logits(rounded, null);
        var found = Logits(model, TensorElementType.Int8);
        Assert.That(NormalisedError(found, expected), Is.LessThan(1e-8));
        Assert.That(NormalisedError(Logits(model, null), expected), Is.GreaterThan(1e-6), "the head was rounded at all");
    }

    [TestCase(TensorElementType.BFloat16, true)]
    [TestCase(TensorElementType.BFloat16, false)]
    [TestCase(TensorElementType.Float32, true)]
    [TestCase(TensorElementType.Float32, false)]
    public void ATypeThatHoldsEveryValueChangesNothing(TensorElementType type, bool isTied)
    {
        var model = isTied ? tied : separate;
        Assert.That(NormalisedError(Logits(model, type), Logits(model, null)), Is.LessThan(1e-13));
    }

    [Test]
    public void LogitsDoNotDependOnHowTokensCome()
    {
        var together = Logits(tied, TensorElementType.Int8);
        using var model = ArmorModel.Load(tied, new ArmorModelOptions { HeadType = TensorElementType.Int8 });
        var session = model.CreateSession();
        var logits = new float[Tied.VocabularySize];
        foreach (var token in Prompt)
        {
            model.ForwardLogits([token], session, logits);
        }

        Assert.That(logits, Is.EqualTo(together[^logits.Length..]));
    }

    /// <summary>The weight type goes for all other weights, and the head's own for it.</summary>
    [Test]
    public void TheHeadsTypeGoesBeforeThatOfTheWeights()
    {
        var options = new ArmorModelOptions { WeightType = TensorElementType.Float32, HeadType = TensorElementType.Int8 };
        Assert.That(NormalisedError(LogitsWith(tied, options), Logits(tied, TensorElementType.Int8)), Is.LessThan(1e-13));
    }

    [Test]
    public void TheEmbeddingsFileStaysOpenAsLongAsTheModel()
    {
        var path = Path.Combine(tied, "model.safetensors");
        using (ArmorModel.Load(tied))
        {
            Assert.That(() => OpenAlone(path), Throws.Nothing, "without a head of its own it is closed");
        }

        using (ArmorModel.Load(separate, new ArmorModelOptions { HeadType = TensorElementType.Int8 }))
        {
            Assert.That(() => OpenAlone(Path.Combine(separate, "model.safetensors")), Throws.Nothing, "where both are held it is closed");
        }

        using (ArmorModel.Load(tied, new ArmorModelOptions { HeadType = TensorElementType.Int8 }))
        {
            Assert.That(() => OpenAlone(path), Throws.InstanceOf<IOException>());
        }

        Assert.That(() => OpenAlone(path), Throws.Nothing);

        static void OpenAlone(string path)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.None);
        }
    }

    [Test]
    public void ARowThatIsGoneIsNamed()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("Windows does not shorten files that are open.");
        }

        using var model = ArmorModel.Load(tied, new ArmorModelOptions { HeadType = TensorElementType.Int8 });
        var session = model.CreateSession();
        var logits = new float[Tied.VocabularySize];
        model.ForwardLogits([1], session, logits);
        File.WriteAllBytes(Path.Combine(tied, "model.safetensors"), new byte[100]);
        Assert.That(
            () => model.ForwardLogits([36], session, logits),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("model.safetensors").And.Message.Contains("model.embed_tokens.weight").And.Message.Contains("shorter"));
        Assert.That(session.Length, Is.EqualTo(1), "the session is as it was");
    }

    [Test]
    public void ATokenAllocatesNothing()
        => Assert.That(AllocatedByTokens(tied, new ArmorModelOptions { HeadType = TensorElementType.Int8 }), Is.Zero);

    [Test]
    public void AnArmorModelsHeadToo()
    {
        var pruned = Prune(tied, folder.File("pruned"), ["model.layers.0.mlp.up_proj"]);
        var expected = Logits(pruned, null);
        Assert.That(NormalisedError(Logits(pruned, TensorElementType.Int8), expected), Is.GreaterThan(1e-6).And.LessThan(1e-3));
    }

    [Test]
    public void AHeadThatIsPrunedIsRefused()
    {
        var pruned = Prune(separate, folder.File("pruned-head"), [HeadLinear]);
        Assert.That(Logits(pruned, null), Has.All.Matches<float>(float.IsFinite));
        Assert.That(
            () => ArmorModel.Load(pruned, new ArmorModelOptions { HeadType = TensorElementType.Int8 }),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains(HeadLinear).And.Message.Contains("pruned").And.Message.Contains(pruned));
    }

    /// <summary>Its rows are made of factors and have no file, so both are held.</summary>
    [Test]
    public void ATiedEmbeddingThatIsPrunedGivesAHeadOfTheType()
    {
        var pruned = Prune(tied, folder.File("pruned-embedding"), [EmbeddingLinear]);
        Assert.That(NormalisedError(Logits(pruned, TensorElementType.Int8), Logits(pruned, null)), Is.GreaterThan(1e-6).And.LessThan(1e-3));
    }

    [TestCase(TensorElementType.Float64)]
    [TestCase(TensorElementType.Int32)]
    public void OtherTypesAreRefused(TensorElementType type)
        => Assert.That(
            () => ArmorModel.Load(tied, new ArmorModelOptions { HeadType = type, CacheType = TensorElementType.BFloat16 }),
            Throws.ArgumentException.With.Message.Contains($"HeadType must be Float32, BFloat16, Float16 or Int8; found {type}").And.Message.Contains("CacheType"));

    [Test]
    public void ABackendThatHasNoSuchHeadSaysSo()
    {
        using var backend = new PlainBackend();
        Assert.That(
            () => ArmorModel.Load(tied, new ArmorModelOptions { Backend = backend, HeadType = TensorElementType.Int8 }),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("model.embed_tokens.weight").And.Message.Contains("not as Int8"));
    }

    private static float[] RoundedHead(string model, string tensor)
    {
        using var checkpoint = CheckpointFolder.Open(model);
        var (rows, columns) = (Tied.VocabularySize, Tied.HiddenSize);
        var rounded = new float[rows * columns];
        var scales = new float[2];
        var whole = new sbyte[columns];
        checkpoint.ReadFloat32(tensor).CopyTo(rounded, 0);
        for (var row = 0; row < rows; row++)
        {
            var own = rounded.AsSpan(row * columns, columns);
            Int8Rounding.RoundRow(own, 256, whole, scales);
            for (var column = 0; column < columns; column++)
            {
                own[column] = whole[column] * scales[column / 256];
            }
        }

        return rounded;
    }

    private static float[] Logits(string model, TensorElementType? type) => LogitsWith(model, new ArmorModelOptions { HeadType = type });
}
