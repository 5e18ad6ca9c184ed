using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Core.Tests.Pruning;

[TestFixture]
public sealed class StorageRangeTests
{
    [Test]
    public void Rows_that_leave_float16_are_scaled_and_the_product_stays(
        [Values(1e6f, 3e8f, 1e-7f, 1f)] float scale, [Values(null, 2, 4)] int? block, [Values(null, 3)] int? input)
    {
        ArmorLayer layer = Layer(scale, block, input);
        (ArmorLayer rounded, string? note) = StorageRange.Round(layer, TensorElementType.Float16);
        float[] expected = layer.ToDense();
        float[] found = rounded.ToDense();
        double error = expected.Zip(found, (a, b) => Math.Pow((double)a - b, 2)).Sum() / expected.Sum(a => (double)a * a);
        Assert.That(error, Is.LessThan(1e-5));
        Assert.That(note, scale == 1 ? Is.Null : Does.Contain("Float16"));
        Assert.That(rounded.OutputWrapper is null, Is.EqualTo(block is null && scale == 1), "a diagonal wrapper only where one is needed");
        foreach (ReadOnlyMemory<float> values in new[] { rounded.Core.Values, rounded.OutputWrapper?.Values ?? default })
        {
            Assert.That(values.ToArray(), Has.All.Matches<float>(value => float.IsFinite(value) && (float)(Half)value == value));
        }
    }

    [Test]
    public void Wide_types_are_left_alone()
    {
        ArmorLayer layer = Layer(3e8f, null, null);
        (ArmorLayer rounded, string? note) = StorageRange.Round(layer, TensorElementType.BFloat16);
        Assert.That((rounded.OutputWrapper, note), Is.EqualTo(((BlockDiagonalMatrix?)null, (string?)null)));
    }

    [Test]
    public void Scales_of_a_quantised_core_reach_beyond_float16()
    {
        ArmorLayer layer = Layer(3e8f, null, null);
        (ArmorLayer rounded, string? note) = StorageRange.Round(layer, TensorElementType.Float16, TensorElementType.Int8);
        Assert.That((rounded.OutputWrapper, note, rounded.Core.IsQuantised), Is.EqualTo(((BlockDiagonalMatrix?)null, (string?)null, true)));
        Assert.That(rounded.Core.Values.ToArray().Max(), Is.EqualTo(layer.Core.Values.ToArray().Max()).Within(1).Percent);
    }

    private static ArmorLayer Layer(float scale, int? block, int? input)
    {
        var random = new Random(7);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2) - 1))];
        float[] dense = Values(8 * 12);
        for (int i = 0; i < dense.Length; i++)
        {
            // Rows of all sizes, some of them ordinary.
            dense[i] *= i % 4 < 2 ? 0 : i / 12 % 2 == 0 ? scale : 1 + (scale / 2);
        }

        return new ArmorLayer(
            block is { } a ? new BlockDiagonalMatrix(8 / a, a, Values(8 * a)) : null,
            SparseCore.FromDense(dense, 8, 12),
            input is { } b ? new BlockDiagonalMatrix(12 / b, b, Values(12 * b)) : null);
    }
}
