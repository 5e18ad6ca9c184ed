using Armor.Runtime.Generation;
using CsCheck;

namespace Armor.Runtime.Tests.Generation;

public sealed class TokenSamplerTests
{
    private static readonly float[] Logits = [.. new[] { 0.1, 0.4, 0.05, 0.3, 0.15 }.Select(probability => (float)Math.Log(probability))];

    private static readonly Gen<float[]> AnyLogits = Gen.Float[-20, 20].Array[1, 40];

    private static readonly Gen<GenerationOptions> AnyOptions = Gen.Select(
        Gen.Double[0.05, 3], Gen.Int[1, 50].Nullable(), Gen.OneOf(Gen.Const(1.0), Gen.Double[0.01, 1]),
        (temperature, topK, topP) => new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP });

    [Test]
    public void WithoutCutsTheDistributionIsTheSoftmax()
    {
        (int[] tokens, double[] probabilities) = TokenSampler.Distribution(Logits, new GenerationOptions { Temperature = 1 });
        Assert.That(tokens, Is.EqualTo(new[] { 1, 3, 4, 0, 2 }));
        Assert.That(probabilities, Is.EqualTo(new[] { 0.4, 0.3, 0.15, 0.1, 0.05 }).Within(1e-6));
    }

    [Test]
    public void TemperatureIsAPower()
    {
        (_, double[] probabilities) = TokenSampler.Distribution(Logits, new GenerationOptions { Temperature = 0.5 });
        double[] squares = [0.16, 0.09, 0.0225, 0.01, 0.0025];
        Assert.That(probabilities, Is.EqualTo(squares.Select(square => square / squares.Sum())).Within(1e-6));
    }

    [TestCase(null, 0.39, 1)]
    [TestCase(null, 0.41, 2)]
    [TestCase(null, 0.69, 2)]
    [TestCase(null, 0.71, 3)]
    [TestCase(null, 0.96, 5)]
    [TestCase(2, 1.0, 2)]
    [TestCase(9, 1.0, 5)]
    [TestCase(2, 0.56, 1)]
    [TestCase(2, 0.58, 2)]
    public void CutsLeaveTheLikeliest(int? topK, double topP, int expected)
    {
        (int[] tokens, double[] probabilities) = TokenSampler.Distribution(Logits, new GenerationOptions { Temperature = 1, TopK = topK, TopP = topP });
        double[] kept = [.. new[] { 0.4, 0.3, 0.15, 0.1, 0.05 }.Take(expected)];
        Assert.That(tokens, Is.EqualTo(new[] { 1, 3, 4, 0, 2 }.Take(expected)));
        Assert.That(probabilities, Is.EqualTo(kept.Select(probability => probability / kept.Sum())).Within(1e-6));
    }

    [Test]
    public void AnyDistributionIsOneOfTheLikeliestTokens() => Gen.Select(AnyLogits, AnyOptions).Sample((logits, options) =>
    {
        (int[] tokens, double[] probabilities) = TokenSampler.Distribution(logits, options);
        float least = tokens.Min(token => logits[token]);
        Assert.That(tokens, Is.Unique.And.Not.Empty);
        Assert.That(tokens, Has.Length.AtMost(options.TopK ?? int.MaxValue));
        Assert.That(probabilities, Is.Ordered.Descending.And.All.InRange(0, 1));
        Assert.That(probabilities.Sum(), Is.EqualTo(1).Within(1e-9));
        Assert.That(logits.Count(logit => logit > least), Is.LessThan(tokens.Length), "no token left out is likelier than one kept");
    });

    [Test]
    public void DrawsFollowTheDistribution()
    {
        const int Draws = 40_000;
        var sampler = new TokenSampler(new GenerationOptions { Temperature = 1, TopK = 4, Seed = 5 });
        var counts = new int[Logits.Length];
        for (int i = 0; i < Draws; i++)
        {
            counts[sampler.Next(Logits)]++;
        }

        double[] expected = [0.1 / 0.95, 0.4 / 0.95, 0, 0.3 / 0.95, 0.15 / 0.95];
        // Five standard deviations of a count of even odds.
        Assert.That(counts.Select(count => (double)count / Draws), Is.EqualTo(expected).Within(5 * 0.5 / Math.Sqrt(Draws)));
        Assert.That(counts[2], Is.Zero);
    }

    [Test]
    public void SeedsDecide()
    {
        Assert.That(Draw(1), Is.EqualTo(Draw(1)));
        Assert.That(Draw(1), Is.Not.EqualTo(Draw(2)));
        Assert.That(Draw(1), Is.Not.EqualTo(Draw(-1)));

        static int[] Draw(long seed)
        {
            var sampler = new TokenSampler(new GenerationOptions { Temperature = 1, Seed = seed });
            return [.. Enumerable.Range(0, 40).Select(_ => sampler.Next(Logits))];
        }
    }

    [TestCase(0)]
    [TestCase(1e-300)]
    public void WithoutTemperatureTheLikeliestIsTaken(double temperature)
    {
        var sampler = new TokenSampler(new GenerationOptions { Temperature = temperature });
        Assert.That(Enumerable.Range(0, 20).Select(_ => sampler.Next(Logits)), Is.All.EqualTo(1));
    }

    [Test]
    public void OfEqualsTheFirstIsTaken() =>
        Assert.That(new TokenSampler(GenerationOptions.Greedy).Next([1, 3, 2, 3]), Is.EqualTo(1));

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void LogitsThatAreNotFiniteAreNamed(float bad) =>
        Assert.That(
            () => new TokenSampler(GenerationOptions.Sampled).Next([1, bad, 2]), Throws.InstanceOf<ArithmeticException>().With.Message.Contains("token 1"));
}
