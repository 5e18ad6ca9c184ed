using Armor.Runtime.Generation;
using Armor.Runtime.Generation.Sampling;
using CsCheck;

namespace Armor.Runtime.Tests.Generation.Sampling;

public sealed class TokenSamplerTests
{
    private static readonly float[] Logits = [.. new[] { 0.1, 0.4, 0.05, 0.3, 0.15 }.Select(probability => (float)Math.Log(probability))];

    private static readonly Gen<float[]> AnyLogits = Gen.OneOf(
        Gen.Float[-20, 20].Array[1, 200],
        Gen.Int[-3, 3].Select(value => value / 4f).Array[1, 60]);

    private static readonly Gen<GenerationOptions> AnyOptions = Gen.Select(
        Gen.Double[0.05, 3], Gen.Int[1, 50].Nullable(), Gen.OneOf(Gen.Const(1.0), Gen.Double[0.01, 1]), Gen.OneOf(Gen.Const(0.0), Gen.Double[0, 1]),
        (temperature, topK, topP, minP) => new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP });

    [Test]
    public void WithoutCutsTheDistributionIsTheSoftmax()
    {
        (int[] tokens, double[] probabilities) = Distribution(Logits, new GenerationOptions { Temperature = 1 });
        Assert.That(tokens, Is.EqualTo(new[] { 0, 1, 2, 3, 4 }));
        Assert.That(probabilities, Is.EqualTo(new[] { 0.1, 0.4, 0.05, 0.3, 0.15 }).Within(1e-6));
    }

    [Test]
    public void TemperatureIsAPower()
    {
        (_, double[] probabilities) = Distribution(Logits, new GenerationOptions { Temperature = 0.5 });
        double[] squares = [0.01, 0.16, 0.0025, 0.09, 0.0225];
        Assert.That(probabilities, Is.EqualTo(squares.Select(square => square / squares.Sum())).Within(1e-6));
    }

    [TestCase(null, 0.39, 0, 1)]
    [TestCase(null, 0.41, 0, 2)]
    [TestCase(null, 0.69, 0, 2)]
    [TestCase(null, 0.71, 0, 3)]
    [TestCase(null, 0.96, 0, 5)]
    [TestCase(2, 1.0, 0, 2)]
    [TestCase(9, 0.96, 0, 5)]
    [TestCase(2, 0.56, 0, 1)]
    [TestCase(2, 0.58, 0, 2)]
    [TestCase(4, 1.0, 0.74, 2)]
    [TestCase(4, 1.0, 0.76, 1)]
    [TestCase(null, 0.96, 0.2, 4)]
    [TestCase(null, 0.71, 0.2, 3)]
    public void CutsLeaveTheLikeliest(int? topK, double topP, double minP, int expected)
    {
        (int[] tokens, double[] probabilities) = Distribution(
            Logits, new GenerationOptions { Temperature = 1, TopK = topK, TopP = topP, MinP = minP });
        double[] kept = [.. new[] { 0.4, 0.3, 0.15, 0.1, 0.05 }.Take(expected)];
        Assert.That(tokens, Is.EqualTo(new[] { 1, 3, 4, 0, 2 }.Take(expected)));
        Assert.That(probabilities, Is.EqualTo(kept.Select(probability => probability / kept.Sum())).Within(1e-6));
    }

    [TestCase(0.24, 4)]
    [TestCase(0.26, 3)]
    [TestCase(1.0, 1)]
    public void MinPAloneMeasuresAgainstTheLikeliest(double minP, int expected)
    {
        (int[] tokens, _) = Distribution(Logits, new GenerationOptions { Temperature = 1, MinP = minP });
        Assert.That(tokens, Is.EquivalentTo(new[] { 1, 3, 4, 0, 2 }.Take(expected)));
    }

    [Test]
    public void AnyDistributionIsThatOfTheWholeSortedVocabulary() => Gen.Select(AnyLogits, AnyOptions).Sample((logits, options) =>
    {
        (int Token, double Weight)[] expected = [.. logits.Select((logit, token) => (token, Math.Exp(((double)logit - logits.Max()) / options.Temperature)))
            .OrderByDescending(pair => logits[pair.token]).ThenBy(pair => pair.token)];
        expected = expected[..Math.Min(options.TopK ?? expected.Length, expected.Length)];
        double limit = options.TopP * expected.Sum(pair => pair.Weight);
        int kept = 1;
        for (double sum = expected[0].Weight; options.TopP < 1 && kept < expected.Length && sum < limit * (1 - 1e-12); kept++)
        {
            sum += expected[kept].Weight;
        }

        expected = [.. expected[..(options.TopP < 1 ? kept : expected.Length)].Where(pair => pair.Weight >= options.MinP)];

        (int[] tokens, double[] probabilities) = Distribution(logits, options);
        Dictionary<int, double> found = tokens.Zip(probabilities).ToDictionary();
        Assert.That(tokens, Is.EquivalentTo(expected.Select(pair => pair.Token)));
        double total = expected.Sum(pair => pair.Weight);
        Assert.That(expected.Select(pair => found[pair.Token]), Is.EqualTo(expected.Select(pair => pair.Weight / total)).Within(1e-12));
    });

    [Test]
    public void DrawsFollowTheDistribution([Values(null, 4)] int? topK)
    {
        const int Draws = 40_000;
        TokenSampler sampler = Sampler(new GenerationOptions { Temperature = 1, TopK = topK, Seed = 5 });
        var counts = new int[Logits.Length];
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Next(Logits)]++;
        }

        double[] expected = [0.1, 0.4, topK is null ? 0.05 : 0, 0.3, 0.15];
        // Five standard deviations of a count of even odds.
        Assert.That(
            counts.Select(count => (double)count / Draws),
            Is.EqualTo(expected.Select(probability => probability / expected.Sum())).Within(5 * 0.5 / Math.Sqrt(Draws)));
        Assert.That(counts[2] == 0, Is.EqualTo(topK is not null));
    }

    [Test]
    public void SeedsDecide()
    {
        Assert.That(Draw(1), Is.EqualTo(Draw(1)));
        Assert.That(Draw(1), Is.Not.EqualTo(Draw(2)));
        Assert.That(Draw(1), Is.Not.EqualTo(Draw(-1)));

        static int[] Draw(long seed)
        {
            TokenSampler sampler = Sampler(new GenerationOptions { Temperature = 1, Seed = seed });
            return [.. Enumerable.Range(0, 40).Select(_ => sampler.Next(Logits))];
        }
    }

    [Test]
    public void TheTokensOfASeedAreTheSameEverywhere()
    {
        // Written down once: the draws, the exponentials and the cuts know nothing of the machine.
        float[] logits = [.. Enumerable.Range(0, 1000).Select(i => i * 7919 % 1000 / 100f)];
        Assert.Multiple(() =>
        {
            Assert.That(Draw(GenerationOptions.Sampled), Is.EqualTo(new[] { 458, 494, 25, 272, 963, 940 }));
            Assert.That(Draw(new GenerationOptions { Temperature = 1.5, TopK = 40 }), Is.EqualTo(new[] { 309, 926, 531, 173, 642, 235 }));
            Assert.That(Draw(new GenerationOptions { Temperature = 1 }), Is.EqualTo(new[] { 741, 173, 284, 338, 39, 877 }));
        });

        int[] Draw(GenerationOptions options)
        {
            var sampler = new TokenSampler(options with { Seed = 42 }, logits.Length, []);
            return [.. Enumerable.Range(0, 6).Select(_ => sampler.Next(logits))];
        }
    }

    [TestCase(0)]
    [TestCase(1e-300)]
    public void WithoutTemperatureTheLikeliestIsTaken(double temperature)
    {
        TokenSampler sampler = Sampler(new GenerationOptions { Temperature = temperature });
        Assert.That(Enumerable.Range(0, 20).Select(_ => sampler.Next(Logits)), Is.All.EqualTo(1));
    }

    [Test]
    public void OfEqualsTheFirstIsTaken([Values(4, 40)] int vocabulary)
    {
        float[] logits = [1, 3, 2, 3, .. Enumerable.Repeat(-1f, vocabulary - 4)];
        Assert.That(new TokenSampler(GenerationOptions.Greedy, vocabulary, []).Next(logits), Is.EqualTo(1));
    }

    [Test]
    public void TheRepetitionPenaltyActsOnPromptAndContinuation()
    {
        var options = new GenerationOptions { RepetitionPenalty = 2 };
        var sampler = new TokenSampler(options, 4, [1]);
        int[] tokens = [.. Enumerable.Range(0, 5).Select(_ => sampler.Next([4, 6.5f, 3, -1]))];
        Assert.That(tokens, Is.EqualTo(new[] { 0, 1, 1, 1, 1 }), "6.5 becomes 3.25, then 4 becomes 2: of 2, 3.25, 3 and −1 the second stays highest");
    }

    [Test]
    public void NothingIsAllocatedForAToken([Values] bool greedy)
    {
        float[] logits = [.. Enumerable.Range(0, 5000).Select(i => i * 7919 % 5000 / 500f)];
        var options = new GenerationOptions { Temperature = greedy ? 0 : 0.8, TopP = 0.9, MinP = 0.01, TopK = null };
        var samplers = new[] { options, options with { TopK = 50 } }.Select(each => new TokenSampler(each, logits.Length, [1, 2])).ToArray();
        foreach (TokenSampler sampler in samplers)
        {
            sampler.Next(logits);
        }

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 20; i++)
        {
            samplers[i % 2].Next(logits);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void LogitsThatAreNotFiniteAreNamed(float bad) =>
        Assert.That(
            () => new TokenSampler(GenerationOptions.Sampled, 3, []).Next([1, bad, 2]),
            Throws.InstanceOf<ArithmeticException>().With.Message.Contains("token 1"));

    private static TokenSampler Sampler(GenerationOptions options) => new(options, Logits.Length, []);

    private static (int[] Tokens, double[] Probabilities) Distribution(float[] logits, GenerationOptions options)
    {
        var (tokens, weights) = new TokenSampler(options, logits.Length, []).Distribution(logits);
        double[] all = weights.ToArray();
        return (tokens.ToArray(), [.. all.Select(weight => weight / all.Sum())]);
    }
}
