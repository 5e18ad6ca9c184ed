using Armor.Core.Pruning;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Core.Tests.Pruning;

[TestFixture]
public sealed class BlockSizesTests
{
    [TestCase(4096, 4096, 128, 128)]
    [TestCase(1024, 4096, 51, 0)]
    [TestCase(256, 256, 8, 8)]
    [TestCase(2, 4, 0, 0)]
    public void Budget_takes_the_largest_blocks_that_fit(int rows, int columns, int largestOutput, int input)
    {
        BlockSizes sizes = BlockSizes.For(ArmorPrunerOptions.Balanced, rows, columns);
        Assert.That(sizes.Overhead(rows, columns), Is.LessThanOrEqualTo(0.0625));
        Assert.That(sizes.Output ?? 0, Is.LessThanOrEqualTo(largestOutput));
        if (input > 0)
        {
            Assert.That((sizes.Output, sizes.Input), Is.EqualTo((largestOutput, input)));
        }
    }

    [TestCase(172, 64, 8, 4, 8)]
    [TestCase(64, 172, 8, 8, 4)]
    [TestCase(172, 64, 128, 86, 64)]
    [TestCase(64, 172, 128, 64, 4)]
    [TestCase(64, 172, 200, 64, 172)]
    [TestCase(7, 20, 8, 7, 4)]
    public void Given_size_becomes_the_largest_divisor_that_keeps_groups_whole(int rows, int columns, int size, int output, int input)
    {
        BlockSizes sizes = BlockSizes.For(ArmorPrunerOptions.Balanced with { BlockSize = size }, rows, columns);
        Assert.That((sizes.Output, sizes.Input), Is.EqualTo((output, input)));
    }

    [TestCase("4:8", 172, 64, 12, 4, 8)]
    [TestCase("4:8", 64, 64, 4, 4, 1)]
    [TestCase("2:3", 64, 96, 16, 16, 12)]
    [TestCase("5:16", 64, 160, 40, 32, 32)]
    public void Blocks_of_B_are_whole_groups_of_any_pattern(string text, int rows, int columns, int size, int output, int input)
    {
        BlockSizes sizes = BlockSizes.For(ArmorPrunerOptions.Balanced with { BlockSize = size, Pattern = SparsityPattern.Parse(text) }, rows, columns);
        Assert.That((sizes.Output ?? 1, sizes.Input ?? 1), Is.EqualTo((output, input)));
    }

    [Test]
    public void Sizes_always_divide() =>
        Gen.Select(Gen.Int[1, 600], Gen.Int[1, 150], Gen.Int[1, 130], Gen.Enum<WrapperSides>()).Sample((rows, groups, size, sides) =>
        {
            BlockSizes sizes = BlockSizes.For(ArmorPrunerOptions.Balanced with { BlockSize = size, Wrappers = sides }, rows, 4 * groups);
            Assert.That(rows % (sizes.Output ?? 1), Is.Zero);
            Assert.That(4 * groups % (sizes.Input ?? 1), Is.Zero);
            Assert.That((sizes.Input ?? 4) % 4, Is.Zero);
            Assert.That(sides == WrapperSides.Input && sizes.Output is not null, Is.False);
            Assert.That(sides == WrapperSides.Output && sizes.Input is not null, Is.False);
        });
}
