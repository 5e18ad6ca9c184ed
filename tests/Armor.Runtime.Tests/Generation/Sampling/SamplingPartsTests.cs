using System.Runtime.Intrinsics;
using Armor.Runtime.Generation.Sampling;
using CsCheck;

namespace Armor.Runtime.Tests.Generation.Sampling;

public sealed class SamplingPartsTests
{
    [Test]
    public void ExponentialsAreExactToTheLastDigits() => Gen.Double[-700, 0].Sample(x =>
    {
        double found = ReproducibleExp.Compute(Vector512.Create(x))[3];
        Assert.That(found / Math.Exp(x), Is.EqualTo(1).Within(1e-15));
    });

    [TestCase(0, 1)]
    [TestCase(-0.0, 1)]
    [TestCase(-701, 0)]
    [TestCase(double.NegativeInfinity, 0)]
    public void ExponentialsAtTheEnds(double x, double expected) => Assert.That(ReproducibleExp.Compute(Vector512.Create(x))[0], Is.EqualTo(expected));

    [Test]
    public void WeightsOfAnyLength() => Gen.Float[-30, 0].Array[0, 40].Sample(logits =>
    {
        var weights = new double[logits.Length];
        ReproducibleExp.Weights(logits, 0.25f, 0.7, weights);
        Assert.That(weights, Is.EqualTo(logits.Select(logit => Math.Exp((logit - 0.25) / 0.7))).Within(1e-14));
    });

    [Test]
    public void TheHighestAreThoseOfASort() => Gen.Select(
        Gen.OneOf(Gen.Float[-5, 5], Gen.Int[-2, 2].Select(value => (float)value), Gen.Const(-0f)).Array[1, 300], Gen.Int[1, 320]).Sample((logits, count) =>
    {
        var keys = new ulong[logits.Length];
        int found = TopLogits.Select(logits, count, keys);
        IEnumerable<int> expected = Enumerable.Range(0, logits.Length).OrderByDescending(token => logits[token]).ThenBy(token => token).Take(count);
        Assert.That(keys[..found].Select(TopLogits.Token), Is.EqualTo(expected));
    });

    [Test]
    public void ThePenaltyDividesPositiveLogitsAndMultipliesNegativeOnesOnce()
    {
        var penalty = new RepetitionPenalty(2, null, 5, [0, 1, 1]);
        penalty.Append(3);
        float[] logits = [3, -3, 1, 0, 2];
        penalty.Apply(logits);
        Assert.That(logits, Is.EqualTo(new float[] { 1.5f, -6, 1, 0, 2 }));
    }

    [Test]
    public void ThePenaltysWindowIsOfTheLatestTokens()
    {
        var penalty = new RepetitionPenalty(4, 2, 5, [0, 1, 2]);
        penalty.Append(4);
        for (int pass = 0; pass < 2; pass++)
        {
            float[] logits = [8, 8, 8, 8, 8];
            penalty.Apply(logits);
            Assert.That(logits, Is.EqualTo(new float[] { 8, 8, 2, 8, 2 }));
        }
    }
}
