using Armor.Runtime.Generation;
using CsCheck;

namespace Armor.Runtime.Tests.Generation;

/// <summary>Every length around the vector widths, against float64.</summary>
public sealed class RowMathTests
{
    private static readonly Gen<(float[] X, float[] Y)> Rows = Gen.Int[1, 70].SelectMany(length =>
        Gen.Select(Gen.Float[-8, 8].Array[length], Gen.Float[-8, 8].Array[length]));

    [Test]
    public void Normalize() => Rows.Sample((x, weight) =>
    {
        double root = Math.Sqrt(x.Average(value => (double)value * value) + 1e-5);
        var output = new float[x.Length];
        RowMath.Normalize(x, weight, 1e-5f, output);
        AssertClose(output, x.Zip(weight, (value, scale) => value / root * scale));
    });

    [Test]
    public void AddAndAddScaled() => Rows.Sample((x, y) =>
    {
        float[] sum = [.. y];
        RowMath.Add(x, sum);
        AssertClose(sum, x.Zip(y, (a, b) => (double)a + b));
        RowMath.AddScaled(-0.3f, x, sum);
        AssertClose(sum, x.Zip(y, (a, b) => a + b + (-0.3f * (double)a)));
    });

    [Test]
    public void GateBySilu() => Rows.Sample((x, y) =>
    {
        float[] gate = [.. x];
        RowMath.GateBySilu(gate, y);
        AssertClose(gate, x.Zip(y, (a, b) => a / (1 + Math.Exp(-a)) * b));
    });

    [Test]
    public void SiluOfGreatNumbersStaysFinite()
    {
        float[] gate = [-1e4f, 1e4f, -88.8f];
        RowMath.GateBySilu(gate, [1, 1, 1]);
        Assert.That(gate, Is.EqualTo(new[] { 0, 1e4f, 0 }).Within(1e-30f));
    }

    [Test]
    public void Softmax() => Rows.Sample((x, _) =>
    {
        float[] scores = [.. x];
        RowMath.Softmax(scores);
        double sum = x.Sum(value => Math.Exp(value));
        AssertClose(scores, x.Select(value => Math.Exp(value) / sum));
    });

    [Test]
    public void SoftmaxOfGreatNumbersStaysFinite()
    {
        float[] scores = [1e30f, -1e30f, 1e30f];
        RowMath.Softmax(scores);
        Assert.That(scores, Is.EqualTo(new[] { 0.5f, 0, 0.5f }));
    }

    private static void AssertClose(float[] found, IEnumerable<double> expected) =>
        Assert.That(found.Zip(expected, (x, y) => Math.Abs(x - y) / (1 + Math.Abs(y))).Max(), Is.LessThan(2e-6));
}
