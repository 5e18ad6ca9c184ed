using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Generation;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Families;

/// <summary>Both forward passes against the float64 reference, whole sequences and token by token.</summary>
public sealed class FamilyForwardTests
{
    private const double Tolerance = 1e-4;

    private static readonly IEnumerable<string> Families = FamilyCheckpoint.Names;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void LogitsOfWholeSequencesAreTheReferences([ValueSource(nameof(Families))] string family, [Values(24, 70)] int length)
    {
        Dictionary<string, double[]> weights = FamilyCheckpoint.Write(family, folder.Path);
        int[] tokens = FamilyCheckpoint.Tokens(length, seed: length);
        double[] expected = Reference(family, weights, tokens);
        using ArmorModel model = ArmorModel.Load(folder.Path);
        Assert.Multiple(() =>
        {
            Assert.That(Difference(TorchLogits(folder.Path, tokens), expected), Is.LessThan(Tolerance), "TorchSharp");
            Assert.That(Difference(ManagedLogits(model, tokens), expected), Is.LessThan(Tolerance), "managed");
        });
    }

    [Test]
    public void TokenByTokenLogitsAreThoseOfTheSequenceSoFar([ValueSource(nameof(Families))] string family)
    {
        Dictionary<string, double[]> weights = FamilyCheckpoint.Write(family, folder.Path);
        int[] tokens = FamilyCheckpoint.Tokens(40, seed: 5);
        using ArmorModel model = ArmorModel.Load(folder.Path);
        GenerationSession session = model.CreateSession();
        var logits = new float[model.Configuration.VocabularySize];
        for (int count = 1; count <= tokens.Length; count++)
        {
            model.ForwardLogits([tokens[count - 1]], session, logits);
            if (count is 1 or 2 or 8 or 9 or 10 or 12 or 31 or 32 or 33 or 34 or 40)
            {
                double[] expected = Reference(family, weights, tokens[..count])[^logits.Length..];
                Assert.That(Difference(logits, expected), Is.LessThan(Tolerance), $"after {count} tokens");
            }
        }
    }

    [Test]
    public void TheTorchCacheGivesTheLogitsOfTheReference([ValueSource(nameof(Families))] string family)
    {
        Dictionary<string, double[]> weights = FamilyCheckpoint.Write(family, folder.Path);
        int[] tokens = FamilyCheckpoint.Tokens(30, seed: 6);
        double[] expected = Reference(family, weights, tokens);
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using CausalLanguageModel model = CausalLanguageModel.Load(folder.Path);
        using var cache = new KeyValueCache(model.Configuration, 1, 30);
        var found = new List<float>();
        foreach (int[] piece in new[] { tokens[..7], tokens[7..8], tokens[8..20], tokens[20..21], tokens[21..] })
        {
            found.AddRange(model.Forward(Batch(piece), cache).data<float>().ToArray());
        }

        Assert.That(Difference([.. found], expected), Is.LessThan(Tolerance));
    }

    [Test]
    public void GradientsFlowToEveryWeight([ValueSource(nameof(Families))] string family)
    {
        FamilyCheckpoint.Write(family, folder.Path);
        using var scope = NewDisposeScope();
        using CausalLanguageModel model = CausalLanguageModel.Load(folder.Path);
        model.RequireGradients(true);
        model.Forward(Batch(FamilyCheckpoint.Tokens(60, seed: 7))).Squared().mean().backward();
        foreach (var (name, weight) in model.Weights)
        {
            Assert.That(weight.grad?.isfinite().all().item<bool>(), Is.True, name);
            Assert.That(weight.grad!.abs().max().item<float>(), Is.GreaterThan(0), name);
        }
    }

    [Test]
    public void CappedAttentionIsTheSameInPiecesOfAnyNumberOfQueries([Values(1, 300, 1000)] long mostScores, [Values(null, 3)] int? window)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(4);
        Tensor queries = randn([2, 4, 7, 6], generator: generator);
        Tensor keys = randn([2, 2, 9, 6], generator: generator);
        Tensor values = randn([2, 2, 9, 6], generator: generator);
        Tensor whole = CausalAttention.Attend(queries, keys, values, window, 0.5, 2);
        Tensor pieces = CausalAttention.Attend(queries, keys, values, window, 0.5, 2, mostScores);
        Assert.That((whole - pieces).abs().max().item<float>(), Is.LessThan(1e-6));
    }

    [Test]
    public void ASessionRewoundBehindTheOriginalContextIsRotatedAsAShortOneAgain()
    {
        const string Family = "Phi-3, LongRoPE, partial rotation";
        Dictionary<string, double[]> weights = FamilyCheckpoint.Write(Family, folder.Path);
        int[] tokens = FamilyCheckpoint.Tokens(36, seed: 8);
        using ArmorModel model = ArmorModel.Load(folder.Path);
        GenerationSession session = model.CreateSession();
        var logits = new float[model.Configuration.VocabularySize];
        model.ForwardLogits(tokens, session, logits);
        session.Rewind(20);
        model.ForwardLogits([3, 4], session, logits);

        double[] expected = Reference(Family, weights, [.. tokens[..20], 3, 4])[^logits.Length..];
        Assert.That(Difference(logits, expected), Is.LessThan(Tolerance));
    }

    [Test]
    public void AShortSequenceIsEvaluatedAsOneBesideLongOnes()
    {
        FamilyCheckpoint.Write("Phi-3, LongRoPE, partial rotation", folder.Path);
        using CausalLanguageModel model = CausalLanguageModel.Load(folder.Path);
        var evaluator = new PerplexityEvaluator(model);
        int[] tokens = FamilyCheckpoint.Tokens(30, seed: 10);
        double together = evaluator.Evaluate([FamilyCheckpoint.Tokens(40, seed: 11), tokens]).SequenceNlls[1].NllSum;
        Assert.That(together, Is.EqualTo(evaluator.Evaluate([tokens]).SequenceNlls[0].NllSum).Within(1e-4));

        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(
            [new int[30], new int[40], new int[20], new int[33]], 1000, CPU, length => model.Configuration.HasLongRotation(length));
        Assert.That(batches.Select(batch => batch.Tokens.shape), Is.EqualTo(new long[][] { [2, 40], [2, 30] }));
        foreach (CalibrationBatch batch in batches)
        {
            batch.Dispose();
        }
    }

    [Test]
    public void TheTorchCacheRefusesToPassTheOriginalContext()
    {
        FamilyCheckpoint.Write("Phi-3, LongRoPE, partial rotation", folder.Path);
        using CausalLanguageModel model = CausalLanguageModel.Load(folder.Path);
        using var cache = new KeyValueCache(model.Configuration, 1, 40);
        using Tensor first = model.Forward(Batch(FamilyCheckpoint.Tokens(30, seed: 9)), cache);
        Assert.That(
            () => model.Forward(Batch(FamilyCheckpoint.Tokens(5, seed: 9)), cache),
            Throws.InvalidOperationException.With.Message.Contains("original context of 32 tokens"));
    }

    private static double[] Reference(string family, Dictionary<string, double[]> weights, int[] tokens) =>
        [.. new FamilyReference(FamilyCheckpoint.Configuration(family), weights).Logits(tokens).SelectMany(row => row)];

    private static float[] TorchLogits(string folder, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using CausalLanguageModel model = CausalLanguageModel.Load(folder);
        return model.Forward(Batch(tokens)).data<float>().ToArray();
    }

    private static float[] ManagedLogits(ArmorModel model, int[] tokens)
    {
        var logits = new float[tokens.Length * model.Configuration.VocabularySize];
        model.ForwardLogits(tokens, model.CreateSession(), logits);
        return logits;
    }

    private static Tensor Batch(int[] tokens) => tensor(Array.ConvertAll(tokens, token => (long)token)).unsqueeze(0);

    private static double Difference(float[] found, double[] expected)
    {
        Assert.That(found, Has.Length.EqualTo(expected.Length));
        return found.Zip(expected, (x, y) => Math.Abs(x - y)).Max();
    }
}
