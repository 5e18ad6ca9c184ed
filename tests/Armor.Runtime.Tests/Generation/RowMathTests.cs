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
    public void GateByGelu() => Rows.Sample((x, y) =>
    {
        float[] gate = [.. x];
        RowMath.GateByGelu(gate, y);
        AssertClose(gate, x.Zip(y, (a, b) => a / 2.0 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (a + (0.044715 * a * a * a)))) * b));
    });

    [Test]
    public void SoftCap() => Gen.Select(Rows, Gen.Float[0.5f, 60]).Sample((rows, cap) =>
    {
        float[] capped = [.. rows.X];
        RowMath.SoftCap(capped, cap);
        Assert.That(capped.Zip(rows.X, (found, x) => Math.Abs(found - (cap * Math.Tanh(x / (double)cap))) / cap).Max(), Is.LessThan(4e-7));
    });

    [Test]
    public void ExponentialsBelowZero() => Gen.Float[-86, 0].Array[1, 40].Sample(x =>
    {
        float[] found = [.. x];
        ElementFunctions.Map(new ElementFunctions.ExpBelow(0), found, found);
        Assert.That(found.Zip(x, (a, b) => Math.Abs((a / Math.Exp(b)) - 1)).Max(), Is.LessThan(3e-7));
    });

    [Test]
    public void TheHighest() => Gen.OneOf(Gen.Float[-9, 9], Gen.Int[-3, 3].Select(value => (float)value)).Array[1, 70].Sample(x =>
    {
        Assert.That(RowMath.Max(x), Is.EqualTo(x.Max()));
        Assert.That(RowMath.IndexOfMax(x), Is.EqualTo(Array.IndexOf(x, x.Max())));
    });

    [Test]
    public void Rotate() => Rows.Where(rows => rows.X.Length % 2 == 0).Sample((x, angles) =>
    {
        int half = x.Length / 2;
        float[] head = [.. x];
        RotaryEmbedding.Rotate(head, [.. angles[..half].Select(MathF.Cos)], [.. angles[..half].Select(MathF.Sin)]);
        AssertClose(head, Enumerable.Range(0, x.Length).Select(i => i < half
            ? (x[i] * Math.Cos(angles[i])) - (x[i + half] * Math.Sin(angles[i]))
            : (x[i] * Math.Cos(angles[i - half])) + (x[i - half] * Math.Sin(angles[i - half]))));
    });

    [Test]
    public void WhatIsNotANumberStaysSo()
    {
        float[] values = [1, float.NaN, .. new float[40]];
        ElementFunctions.Map(new ElementFunctions.ExpBelow(0), values, values);
        Assert.That(values[1], Is.NaN);
    }

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
