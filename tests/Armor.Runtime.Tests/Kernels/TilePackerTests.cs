using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Tests.Kernels;

/// <summary>Every byte of a packed matrix. Packing needs no instruction that a processor may lack, so all widths are tested everywhere.</summary>
internal class TilePackerTests
{
    private static readonly TensorElementType[] Types = [TensorElementType.Float32, TensorElementType.BFloat16, TensorElementType.Float16];

    private static readonly ParallelOptions TwoThreads = new() { MaxDegreeOfParallelism = 2 };

    [Test]
    public void DenseWeights([Values] InstructionSet set, [Values(1, 3, 17, 40)] int rows, [Values(1, 31, 32, 63, 256, 300, 513)] int columns)
    {
        var values = Generators.Values(new Random(rows + columns), rows * columns);
        var source = DenseWeightSource.FromMemory(values, rows, columns);
        foreach (var type in Types)
        {
            Check(() => PackedMatrices.Pack(source, type, set, TwoThreads), layout => ScalarPacker.Dense(layout, values));
        }

        Check(() => PackedMatrices.Pack(source, TensorElementType.Int8, set, TwoThreads), layout => ScalarPacker.DenseInt8(layout, values));
    }

    [Test]
    public void Cores([Values] InstructionSet set, [Values(1, 3, 17, 40)] int rows, [Values(4, 8, 28, 64, 68, 256, 260, 516, 772)] int columns)
    {
        var core = Generators.RandomCore(rows, columns, new Random(rows + columns));
        foreach (var type in Types)
        {
            Check(() => PackedMatrices.Pack(core, type, set, TwoThreads), layout => ScalarPacker.Core(layout, core));
        }

        var quantised = core.RoundedTo(TensorElementType.Int8);
        Check(() => PackedMatrices.Pack(quantised, TensorElementType.BFloat16, set, TwoThreads), layout => ScalarPacker.Quantised(layout, quantised));
    }

    [Test]
    public void Wrappers([Values] InstructionSet set, [Values(1, 3, 16, 17, 64, 100, 129)] int block, [Values(1, 3)] int blocks)
    {
        var wrapper = new BlockDiagonalMatrix(blocks, block, Generators.Values(new Random(block), blocks * block * block));
        foreach (var type in Types)
        {
            Check(() => PackedMatrices.Pack(wrapper, type, set, TwoThreads), layout => ScalarPacker.Blocks(layout, wrapper));
        }

        Check(() => PackedMatrices.Pack(wrapper, TensorElementType.Int8, set, TwoThreads), layout => ScalarPacker.Int8Blocks(layout, wrapper));
        using var packed = PackedMatrices.Pack(wrapper, TensorElementType.Int8, set, TwoThreads);
        Assert.That(packed.Diagonal, Is.EqualTo(Enumerable.Range(0, wrapper.Size).Select(row => wrapper.Values.Span[(row * block) + (row % block)])));
    }

    /// <summary>Twice, the second time most likely into memory that was used before.</summary>
    private static unsafe void Check(Func<PackedMatrix> pack, Func<TileLayout, byte[]> scalar)
    {
        for (var round = 0; round < 2; round++)
        {
            using var packed = pack();
            var bytes = new Span<byte>(packed.Memory.Pointer, checked((int)packed.Layout.Bytes));
            Assert.That(bytes.SequenceEqual(scalar(packed.Layout)), Is.True, $"{packed.Layout.ElementType}, {packed.Layout.Shape.Width} lanes");
            bytes.Fill(0xCD);
        }
    }
}
