using Armor.Cuda.SelfTest;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;

namespace Armor.Cuda.Tests.Decoding;

/// <summary>What a backend that runs whole models must do, held against the managed forward pass: families, caches, batches.</summary>
internal abstract class DecoderConformanceTests
{
    private const int Prompt = 70; // more than a page, and than the windows

    private readonly TemporaryFolder folder = new();

    private protected abstract CudaBackend Backend { get; }

    private static IEnumerable<string> Families => RandomModel.All.Keys;

    [OneTimeTearDown]
    public void DeleteFiles() => folder.Dispose();

    [TestCaseSource(nameof(Families))]
    public void AFamilysLogitsAreThoseOfTheManagedPass(string family)
        => Compare(Dense(family), TensorElementType.Float32, TensorElementType.Float32, 1e-5, Prompt, 3);

    // A prompt's queries and weights of positions are rounded to float16 too, for tensor cores: windows, caps, parts of the positions, heads of no whole fragment.
    [TestCase("Llama", 150)]
    [TestCase("Llama", 7)] // too few
    [TestCase("Mistral, sliding window, nine heads to one", 70)]
    [TestCase("Qwen3, normed queries and keys", 30)]
    [TestCase("Gemma 2, soft caps and windows", 90)]
    public void KeysAndValuesMayBeHeldInFloat16(string family, int prompt)
        => Compare(Dense(family), TensorElementType.Float32, TensorElementType.Float16, prompt == 7 ? 1e-4 : 2e-3, prompt, 2);

    [TestCase(128)]
    [TestCase(136)]
    [TestCase(256)]
    [TestCase(264)] // too large for tensor cores
    public void HeadsMayBeWide(int size)
    {
        var path = folder.File($"wide-{size}");
        RandomModel.Write(path, RandomModel.All["Llama"] with { HeadSize = size, LayerCount = 1 });
        Compare(path, TensorElementType.Float32, TensorElementType.Float16, 1e-3, 75, 1);
    }

    // Inputs of products are rounded to the weights' type, which the managed pass does not do.
    [TestCase("Llama", TensorElementType.Float16, 0.005, 20)]
    [TestCase("Llama", TensorElementType.Float16, 0.005, 140)] // a large batch
    [TestCase("Llama", TensorElementType.BFloat16, 0.04, 20)]
    [TestCase("Gemma 3, two rotations", TensorElementType.Float16, 0.005, 20)]
    [TestCase("Llama, biases everywhere, as many key/value heads as heads", TensorElementType.Float16, 0.005, 5)]
    [TestCase("Mixtral, two experts of five", TensorElementType.Float16, 0.005, 9)]
    [TestCase("Mixtral, two experts of five", TensorElementType.Float16, 0.005, 30)] // a large batch
    [TestCase("Qwen3-MoE, one expert of four, raw weights", TensorElementType.BFloat16, 0.04, 20)]
    public void WeightsOfSixteenBitsGiveTheSameWithinTheirRounding(string family, TensorElementType type, double allowed, int prompt)
        => Compare(Dense(family), type, TensorElementType.Float32, allowed, prompt, 3);

    // Random factors make scores so large that attention takes one position or another, which makes a rounding of 2⁻¹² forty times as large.
    [TestCase(null, TensorElementType.Float32, 1e-4)]
    [TestCase(TensorElementType.Int8, TensorElementType.Float32, 2e-3)] // the processor rounds the inputs of 8-bit cores to 16 bits
    [TestCase(null, TensorElementType.Float16, 0.03)]
    [TestCase(TensorElementType.Int8, TensorElementType.Float16, 0.03)]
    public void FactorisedModelsGiveTheSameWithinTheirRounding(TensorElementType? coreType, TensorElementType type, double allowed)
    {
        var pruned = folder.File($"pruned-{coreType}");
        pruned = Directory.Exists(pruned) ? pruned : RandomFactors.Write(Dense("Llama, biases everywhere, as many key/value heads as heads"), pruned, coreType);
        Compare(pruned, type, TensorElementType.Float32, allowed, 20, 3);
    }

    [Test]
    public void TokenByTokenIsAsAllAtOnce()
    {
        using var model = Load(Dense("Gemma 2, soft caps and windows"));
        var tokens = Tokens(40);
        var together = new float[tokens.Length * RandomModel.Vocabulary];
        using var one = model.CreateSession();
        using var other = model.CreateSession();
        model.ForwardLogits(tokens, one, together);
        for (var i = 0; i < tokens.Length; i++)
        {
            var alone = new float[RandomModel.Vocabulary];
            model.ForwardLogits(tokens.AsSpan(i, 1), other, alone);
            Assert.That(Distance(alone, together.AsSpan(i * RandomModel.Vocabulary, RandomModel.Vocabulary)), Is.LessThan(1e-5), $"token {i}");
        }
    }

    [Test]
    public void ASequenceGetsTheSameLogitsInABatchAsAlone(
        [Values("Llama", "Mixtral, two experts of five")] string family, [Values(TensorElementType.Float32, TensorElementType.BFloat16)] TensorElementType type)
    {
        using var model = Load(Dense(family), type);
        int[][] prompts = [Tokens(3), Tokens(80)[..71], Tokens(30)[10..]];
        var sessions = prompts.Select(_ => model.CreateSession()).ToArray();
        for (var i = 0; i < prompts.Length; i++)
        {
            model.ForwardLogits(prompts[i], sessions[i], []);
        }

        var batch = new float[prompts.Length * RandomModel.Vocabulary];
        for (var step = 0; step < 3; step++)
        {
            model.ForwardBatch(sessions, [step, 7, 9 + step], batch);
        }

        for (var i = 0; i < prompts.Length; i++)
        {
            using var alone = model.CreateSession();
            model.ForwardLogits(prompts[i], alone, []);
            var logits = new float[RandomModel.Vocabulary];
            for (var step = 0; step < 3; step++)
            {
                model.ForwardLogits([i == 0 ? step : i == 1 ? 7 : 9 + step], alone, logits);
            }

            Assert.That(batch.AsSpan(i * RandomModel.Vocabulary, RandomModel.Vocabulary).SequenceEqual(logits), $"sequence {i}");
            sessions[i].Dispose();
        }
    }

    [Test]
    public void GreedyTokensAreThoseOfTheHighestLogits()
    {
        using var model = Load(Dense("Gemma 2, soft caps and windows"));
        var options = new GenerationOptions { MaxTokens = 12, StopAtEndOfSequence = false };
        var prompt = Tokens(5);
        int[] found = [.. model.GenerateTokens(prompt, options)];
        var sequence = new List<int>(prompt);
        using var session = model.CreateSession();
        var logits = new float[RandomModel.Vocabulary];
        model.ForwardLogits(prompt, session, logits);
        for (var i = 0; i < found.Length; i++)
        {
            var highest = Array.IndexOf(logits, logits.Max());
            Assert.That(found[i], Is.EqualTo(highest), $"token {i}");
            model.ForwardLogits([highest], session, logits);
        }

        var together = model.GenerateTokenBatch([prompt, Tokens(9), prompt], options);
        Assert.That(together.Select(result => result.Tokens).Where((_, i) => i != 1), Has.All.EqualTo(found));
    }

    [Test]
    public void SampledTokensAreTheSameEveryTime()
    {
        using var model = Load(Dense("Llama"));
        var options = new GenerationOptions { MaxTokens = 8, Temperature = 0.8, TopP = 0.9, RepetitionPenalty = 1.1, Seed = 3, StopAtEndOfSequence = false };
        Assert.That(model.GenerateTokens([1, 2], options), Is.EqualTo(model.GenerateTokens([1, 2], options).ToArray()));
    }

    [Test]
    public void ASessionThatForgetsGoesOnFromWhereItIs()
    {
        using var model = Load(Dense("Llama"));
        using var session = model.CreateSession();
        using var other = model.CreateSession();
        var (once, again) = (new float[RandomModel.Vocabulary], new float[RandomModel.Vocabulary]);
        model.ForwardLogits(Tokens(9), session, []);
        model.ForwardLogits([5, 6, 7], session, []);
        session.Rewind(9);
        model.ForwardLogits([8], session, once);
        model.ForwardLogits([.. Tokens(9), 8], other, again);
        Assert.That(Distance(once, again), Is.LessThan(1e-5));
    }

    [Test]
    public void EveryRowsLogitsComeBackHoweverManyAreWanted()
    {
        using var model = Load(Dense("Llama"));
        var tokens = Tokens(100);
        var (all, last) = (new float[100 * RandomModel.Vocabulary], new float[67 * RandomModel.Vocabulary]);
        using var one = model.CreateSession();
        using var other = model.CreateSession();
        model.ForwardLogits(tokens, one, all);
        model.ForwardLogits(tokens, other, last);
        Assert.That(Distance(last, all.AsSpan(33 * RandomModel.Vocabulary)), Is.LessThan(1e-5));
    }

    private protected string Dense(string family)
    {
        var path = folder.File(string.Concat(family.Where(char.IsLetterOrDigit)));
        return Directory.Exists(path) ? path : RandomModel.Write(path, RandomModel.All[family]);
    }

    private protected ArmorModel Load(string path, TensorElementType type = TensorElementType.Float32, TensorElementType cacheType = TensorElementType.Float32)
        => ArmorModel.Load(path, new ArmorModelOptions { Backend = Backend, WeightType = type, CacheType = cacheType });

    private protected static int[] Tokens(int count)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(RandomModel.Vocabulary))];
    }

    /// <summary>The root of the mean square of the difference, against that of the expected.</summary>
    private protected static double Distance(ReadOnlySpan<float> found, ReadOnlySpan<float> expected)
    {
        double square = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            square += Math.Pow((double)found[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(square / norm);
    }

    /// <summary>A prompt in one go, with the logits of all its positions, then token by token.</summary>
    private void Compare(string path, TensorElementType type, TensorElementType cacheType, double allowed, int prompt, int more)
    {
        using var model = Load(path, type, cacheType);
        using var managed = ArmorModel.Load(path, new ArmorModelOptions { WeightType = type, CacheType = cacheType });
        using var session = model.CreateSession();
        using var reference = managed.CreateSession();
        var tokens = Tokens(prompt + more);
        for (var (first, count) = (0, prompt); first < tokens.Length; (first, count) = (first + count, 1))
        {
            var found = new float[count * RandomModel.Vocabulary];
            var expected = new float[found.Length];
            model.ForwardLogits(tokens.AsSpan(first, count), session, found);
            managed.ForwardLogits(tokens.AsSpan(first, count), reference, expected);
            for (var row = 0; row < count; row++)
            {
                var place = row * RandomModel.Vocabulary;
                Assert.That(
                    Distance(found.AsSpan(place, RandomModel.Vocabulary), expected.AsSpan(place, RandomModel.Vocabulary)), Is.LessThan(allowed), $"position {first + row}");
            }
        }
    }
}
