using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Factorization;

public class QuantisedCoreTests
{
    [Test]
    public void ValuesAreTheNearestMultiplesOfTheirScales()
        => Generators.Layer.Sample(
            layer =>
            {
                var core = layer.Core;
                var rounded = core.RoundedTo(TensorElementType.Int8);
                Assert.That(rounded.IsQuantised && !core.IsQuantised);
                Assert.That((rounded.Pattern, rounded.Mask.ToArray()), Is.EqualTo((core.Pattern, core.Mask.ToArray())));
                for (var row = 0; row < core.Rows; row++)
                {
                    var scales = rounded.RowScales(row);
                    for (var i = 0; i < core.RowValueCount; i++)
                    {
                        var (scale, q, value) = (scales[i / core.ValuesPerScale], rounded.RowQuantised(row)[i], core.RowValues(row)[i]);
                        Assert.That(rounded.RowValues(row)[i], Is.EqualTo((double)q * scale));
                        if (Math.Abs(q) < 127)
                        {
                            Assert.That(Math.Abs(value - ((double)q * scale)), Is.LessThanOrEqualTo(scale * 0.50001));
                        }
                    }
                }
            },
            iter: 100);

    /// <summary>The last group is shorter; 5 does not divide 256.</summary>
    [TestCase(2, 4, 600, 128, 3)]
    [TestCase(2, 4, 256, 128, 1)]
    [TestCase(2, 4, 4, 128, 1)]
    [TestCase(3, 5, 600, 153, 3)]
    [TestCase(15, 16, 528, 240, 3)]
    public void AGroupIsOfAtMost256Columns(int kept, int group, int columns, int valuesPerScale, int scales)
    {
        var pattern = new SparsityPattern(kept, group);
        var core = Generators.RandomCore(3, columns, new Random(5), pattern);
        var rounded = core.RoundedTo(TensorElementType.Int8);
        Assert.That((rounded.ValuesPerScale, rounded.RowScaleCount, rounded.Scales.Length), Is.EqualTo((valuesPerScale, scales, 3 * scales)));
        for (var row = 0; row < 3; row++)
        {
            for (var first = 0; first < core.RowValueCount; first += valuesPerScale)
            {
                // Against the plain choice, largest / 127: no worse, and near enough to it that no value is lost.
                var values = core.RowValues(row)[first..Math.Min(first + valuesPerScale, core.RowValueCount)].ToArray();
                var found = rounded.RowValues(row).Slice(first, values.Length).ToArray();
                var plain = values.Max(Math.Abs) / 127.0;
                Assert.That(rounded.RowScales(row)[first / valuesPerScale], Is.EqualTo(plain).Within(7).Percent);
                Assert.That(Error(values, found), Is.LessThanOrEqualTo(1.1 * Error(values, [.. values.Select(value => (float)(Math.Round(value / plain) * plain))])));
            }
        }
    }

    [Test]
    public void AFormIsTakenOnceAndLeftAgain()
    {
        var core = Generators.RandomCore(4, 300, new Random(6));
        var quantised = core.RoundedTo(TensorElementType.Int8);
        Assert.That(quantised.RoundedTo(TensorElementType.Int8), Is.SameAs(quantised));
        var floats = quantised.RoundedTo(TensorElementType.Float32);
        Assert.That((floats.IsQuantised, floats.QuantisedValues.Length, floats.Scales.Length), Is.EqualTo((false, 0, 0)));
        Assert.That(floats.Values.ToArray(), Is.EqualTo(quantised.Values.ToArray()));
        Assert.That(() => floats.RowQuantised(0), Throws.InvalidOperationException.With.Message.Contains("not quantised"));
        Assert.That(() => floats.RowScales(0), Throws.InvalidOperationException);
    }

    [TestCase(null, null)]
    [TestCase(2, 150)]
    public void TheDenseFormNeedsNoFloatsInMemory(int? output, int? input)
    {
        var exact = Generators.RandomLayer(4, 300, output, input, 7);
        var layer = exact.RoundedTo(TensorElementType.Float32, TensorElementType.Int8);
        var same = new ArmorLayer(exact.OutputWrapper, layer.Core.RoundedTo(TensorElementType.Float32), exact.InputWrapper);
        Assert.That(layer.ToDense(), Is.EqualTo(same.ToDense()));
        Assert.That(layer.Core.ToDense(), Is.EqualTo(same.Core.ToDense()));
    }

    /// <summary>Powers of two beside the ends of float32's range, and what is below the smallest scale.</summary>
    [TestCase(0f, 0f, 0f, 0)]
    [TestCase(1e-45f, 0f, 0f, 0)]
    [TestCase(1.2e-38f, -6e-39f, 1f, 0.02)]
    [TestCase(3.4028235e38f, -1.7e38f, 1f, 0.02)]
    [TestCase(3.4028235e38f, 1e-30f, 1f, 0.02)]
    public void ExtremesAreRounded(float first, float second, float share, double within)
    {
        var core = new SparseCore(1, 4, [first, second], [3]).RoundedTo(TensorElementType.Int8);
        Assert.That(core.Values.Span[0], Is.EqualTo(first * share).Within(within * first));
        Assert.That(core.Values.Span[1], Is.EqualTo(second * share).Within(within * first));
        Assert.That(core.Values.ToArray(), Has.All.Matches<float>(float.IsFinite));
    }

    [TestCase(float.NaN)]
    [TestCase(float.NegativeInfinity)]
    public void ValuesThatAreNotFiniteAreRefused(float value)
        => Assert.That(
            () => new SparseCore(1, 8, [0, 1, 2, value], [0x33]).RoundedTo(TensorElementType.Int8),
            Throws.ArgumentException.With.Message.Contains("Value 3 is").And.Message.Contains("only finite values"));

    [Test]
    public void PartsAreChecked()
    {
        Assert.That(SparseCore.FromQuantised(1, 4, [-127, 3], [0.5f], [3]).Values.ToArray(), Is.EqualTo([-63.5f, 1.5f]));
        Assert.That(() => SparseCore.FromQuantised(1, 4, [1], [1], [3]), Throws.ArgumentException.With.Message.Contains("keeps 2 values, not 1"));
        Assert.That(() => SparseCore.FromQuantised(1, 4, [1, 2], [1, 1], [3]), Throws.ArgumentException.With.Message.Contains("has 1 scales, not 2"));
        Assert.That(() => SparseCore.FromQuantised(1, 4, [1, -128], [1], [3]), Throws.ArgumentException.With.Message.Contains("Value 1 is -128"));
        Assert.That(() => SparseCore.FromQuantised(1, 4, [1, 2], [1], [7]), Throws.ArgumentException.With.Message.Contains("3 bits, not 2"));
        foreach (var scale in new[] { -1f, float.NaN, float.PositiveInfinity, 3.3e38f, 1.001f })
        {
            Assert.That(() => SparseCore.FromQuantised(1, 4, [1, 2], [scale], [3]), Throws.ArgumentException.With.Message.Contains("Scale 0 is"));
        }
    }

    [Test]
    public void StorageCountsScales()
    {
        var layer = Generators.RandomLayer(8, 520, 4, 5, 1);
        const int Wrappers = ((8 * 4) + (520 * 5)) * 2;
        Assert.That(layer.StorageBytes(TensorElementType.BFloat16, TensorElementType.Int8), Is.EqualTo(Wrappers + (8 * (260 + (3 * 2) + 65))));
        Assert.That(SparseCore.StorageBytes(4096, 4096, TensorElementType.Int8) / (4096.0 * 4096), Is.EqualTo(0.625 + (2 / 256.0)));
    }

    private static double Error(float[] values, float[] rounded) => values.Zip(rounded, (value, other) => Math.Pow(value - (double)other, 2)).Sum();
}
