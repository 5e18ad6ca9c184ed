using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Factorization;

public class ArmorLayerTests
{
    [Test]
    public void TheDenseFormIsTheProductOfTheDenseFactors()
        => Generators.Layer.Sample(
            layer =>
            {
                var expected = Generators.Dense(layer);
                var worst = layer.ToDense().Select((value, i) => Math.Abs(value - expected[i / layer.Columns, i % layer.Columns])).Max();
                Assert.That(worst, Is.LessThan(1e-6));
            },
            iter: 200);

    [Test]
    public void ADenseCoreSurvivesPacking()
        => Generators.Layer.Sample(
            layer =>
            {
                var dense = layer.Core.ToDense();
                var packed = SparseCore.FromDense(dense, layer.Rows, layer.Columns, layer.Core.Pattern);
                Assert.That(packed.ToDense(), Is.EqualTo(dense));
                Assert.That(packed.Mask.ToArray(), Is.EqualTo(layer.Core.Mask.ToArray()));
                Assert.That(packed.Values.ToArray(), Is.EqualTo(layer.Core.Values.ToArray()));
            },
            iter: 100);

    [Test]
    public void FreePlacesFillTheLowestColumns()
    {
        var core = SparseCore.FromDense([0, 0, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0], 1, 12);
        Assert.That(core.Mask.ToArray(), Is.EqualTo(new byte[] { 0b1001_0011, 0b0011 }));
        Assert.That(core.Values.ToArray(), Is.EqualTo([0f, 0, 0, 5, 7, 0]));
    }

    [Test]
    public void AThirdNonZeroIsAnErrorAtItsPlace()
        => Assert.That(
            () => SparseCore.FromDense([1, 0, 2, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2, 8),
            Throws.ArgumentException.With.Message.Contains("Row 0, columns 4 to 7: 3 non-zeros, not at most 2."));

    [TestCase(0b0011_0001, "Row 0, columns 0 to 3: 1 bits, not 2.")]
    [TestCase(0b0111_0011, "Row 0, columns 4 to 7: 3 bits, not 2.")]
    [TestCase(0b1111_0000, "Row 0, columns 0 to 3: 0 bits, not 2.")]
    public void AMaskOfOtherThanTwoBitsIsAnError(int mask, string message)
        => Assert.That(() => new SparseCore(1, 8, new float[4], [(byte)mask]), Throws.ArgumentException.With.Message.Contains(message));

    [Test]
    public void GroupsAcrossBytesAreChecked()
    {
        // 3:5 in ten columns: 5 to 9 lie in both bytes.
        var pattern = new SparsityPattern(3, 5);
        Assert.That(() => new SparseCore(1, 10, new float[6], [0b1110_0111, 0], pattern), Throws.Nothing);
        Assert.That(
            () => new SparseCore(1, 10, new float[6], [0b1110_0111, 0b01], pattern),
            Throws.ArgumentException.With.Message.Contains("Row 0, columns 5 to 9: 4 bits, not 3."));
        Assert.That(
            () => new SparseCore(1, 10, new float[6], [0b1110_0111, 0b100], pattern),
            Throws.ArgumentException.With.Message.Contains("Row 0, columns 10 to 15: 1 bits, not 0."));
        Assert.That(() => new SparseCore(1, 10, new float[6], [0b1110_0111, 0]), Throws.ArgumentException.With.Message.Contains("2:4"));
    }

    [Test]
    public void BitsBeyondTheLastColumnAreAnError()
        => Assert.That(
            () => new SparseCore(2, 4, new float[4], [0b0011, 0b0011_0011]),
            Throws.ArgumentException.With.Message.Contains("Row 1, columns 4 to 7"));

    [Test]
    public void SizesAreChecked()
    {
        var core = new SparseCore(2, 4, new float[4], [3, 3]);
        Assert.That(() => new SparseCore(1, 6, new float[3], [3]), Throws.ArgumentException.With.Message.Contains("multiple of 4"));
        Assert.That(() => new SparseCore(2, 4, new float[3], [3, 3]), Throws.ArgumentException.With.Message.Contains("keeps 4 values, not 3"));
        Assert.That(() => new SparseCore(2, 4, new float[4], [3]), Throws.ArgumentException.With.Message.Contains("2 bytes of mask, not 1"));
        Assert.That(() => new SparseCore(int.MaxValue, 8, [], []), Throws.ArgumentException);
        Assert.That(() => new BlockDiagonalMatrix(2, 3, new float[17]), Throws.ArgumentException.With.Message.Contains("18 values, not 17"));
        Assert.That(() => new BlockDiagonalMatrix(int.MaxValue, int.MaxValue, []), Throws.ArgumentException);
        Assert.That(() => new ArmorLayer(BlockDiagonalMatrix.Identity(1, 4), core, null), Throws.ArgumentException.With.Message.Contains("4 rows, the core 2"));
        Assert.That(() => new ArmorLayer(null, core, BlockDiagonalMatrix.Identity(1, 2)), Throws.ArgumentException.With.Message.Contains("4 columns"));
    }

    [Test]
    public void IdentityWrappersChangeNothing()
    {
        var bare = Generators.RandomLayer(6, 8, null, null, 1);
        var wrapped = new ArmorLayer(BlockDiagonalMatrix.Identity(2, 3), bare.Core, BlockDiagonalMatrix.Identity(4, 2));
        Assert.That(wrapped.ToDense(), Is.EqualTo(bare.ToDense()));
    }

    [Test]
    public void StorageCountsWrappersValuesAndMask()
    {
        var layer = Generators.RandomLayer(8, 12, 4, 6, 1);
        Assert.That(layer.StorageBytes(TensorElementType.BFloat16), Is.EqualTo(((8 * 4) + (8 * 6) + (12 * 6)) * 2 + (8 * 2)));
        var most = Generators.RandomLayer(8, 16, 4, null, 1, new SparsityPattern(6, 8));
        Assert.That(most.StorageBytes(TensorElementType.BFloat16), Is.EqualTo(((8 * 12) + (8 * 4)) * 2 + (8 * 2)));
    }

    [Test]
    public void RoundingIsThatOfTheType()
    {
        var layer = Generators.RandomLayer(4, 8, 2, 4, 1).RoundedTo(TensorElementType.BFloat16);
        var all = layer.Core.Values.ToArray().Concat(layer.InputWrapper!.Values.ToArray()).Concat(layer.OutputWrapper!.Values.ToArray());
        Assert.That(all.Select(value => BitConverter.SingleToUInt32Bits(value) & 0xFFFF), Has.All.Zero);
    }
}
