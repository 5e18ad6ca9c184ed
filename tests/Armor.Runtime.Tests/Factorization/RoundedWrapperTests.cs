using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Factorization;

/// <summary>Wrappers rounded to 8 bits: the diagonal stays, the rest of a row lies on whole steps of a bfloat16.</summary>
internal sealed class RoundedWrapperTests
{
    private const int GroupColumns = 128;

    [Test]
    public void AnyWrapper() => Gen.Select(Gen.Int[1, 3], Gen.OneOf(Gen.Int[1, 20], Gen.Int[120, 140]), Gen.Int).Sample(
        (blocks, size, seed) => Check(new BlockDiagonalMatrix(blocks, size, Generators.Values(new Random(seed), blocks * size * size))), iter: 60);

    /// <summary>A value that is a hundred times the others of its row costs them their digits, unless it is the diagonal.</summary>
    [Test]
    public void TheDiagonalCostsTheOthersNothing([Values] bool isDiagonal)
    {
        var values = Generators.Values(new Random(1), 32 * 32);
        for (var row = 0; row < 32; row++)
        {
            values[(row * 32) + ((row + (isDiagonal ? 0 : 1)) % 32)] = 100;
        }

        var wrapper = new BlockDiagonalMatrix(1, 32, values);
        var rounded = wrapper.RoundedTo(TensorElementType.Int8).Values.ToArray();
        var error = rounded.Zip(values, (one, other) => Math.Pow(one - other, 2)).Sum() / (32 * 31);
        var step = (isDiagonal ? 1 : 100) / 127.0;

        // A twelfth of a step squared, less what choosing among scales saves.
        Assert.That(error, Is.EqualTo(step * step / 12).Within(30).Percent);
    }

    [Test]
    public void AValueThatIsNotFiniteIsNamed()
    {
        var values = new float[2 * 3 * 3];
        values[(4 * 3) + 2] = float.NaN;
        Assert.That(
            () => new BlockDiagonalMatrix(2, 3, values).RoundedTo(TensorElementType.Int8),
            Throws.ArgumentException.With.Message.Contains("Row 4, column 5 of a wrapper is NaN"));
    }

    private static void Check(BlockDiagonalMatrix wrapper)
    {
        var rounded = wrapper.RoundedTo(TensorElementType.Int8);
        Assert.That((rounded.BlockCount, rounded.BlockSize), Is.EqualTo((wrapper.BlockCount, wrapper.BlockSize)));
        for (var row = 0; row < wrapper.Size; row++)
        {
            var exact = wrapper.Values.Slice(row * wrapper.BlockSize, wrapper.BlockSize).ToArray();
            var own = rounded.Values.Slice(row * wrapper.BlockSize, wrapper.BlockSize).ToArray();
            var diagonal = row % wrapper.BlockSize;
            Assert.That(own[diagonal], Is.EqualTo(exact[diagonal]));
            (exact[diagonal], own[diagonal]) = (0, 0);
            foreach (var (group, found) in exact.Chunk(GroupColumns).Zip(own.Chunk(GroupColumns)))
            {
                var largest = group.Max(Math.Abs);

                // A scale has eight bits, and up to eight of its neighbours are tried.
                var tolerance = 0.55 * largest / 127 * Math.Pow(1 + (1.0 / 128), 9);
                for (var i = 0; i < group.Length; i++)
                {
                    var clipped = Math.Abs(group[i]) > 0.9 * largest ? 0.05 * largest : 0;
                    Assert.That(found[i], Is.EqualTo(group[i]).Within(tolerance + clipped), $"row {row}");
                }
            }
        }
    }
}
