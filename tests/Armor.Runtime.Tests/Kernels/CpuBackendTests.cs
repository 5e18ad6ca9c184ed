using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Kernels;

[TestFixture(InstructionSet.Vector128, 1)]
[TestFixture(InstructionSet.Avx2, 2)]
[TestFixture(InstructionSet.Avx512, 1)]
[TestFixture(InstructionSet.Avx512, 3)]
internal class CpuBackendTests(InstructionSet set, int threads) : KernelConformanceTests(Create(set, threads), 1e-11)
{
    [Test]
    public void QuantisedCoresOfEveryWidth([Values(4, 12, 64, 252, 256, 260, 516, 1100)] int columns, [Values(1, 2, 3, 4, 9)] int batch)
        => CheckQuantised(Generators.RandomLayer(17, columns, null, null, columns), batch);

    [TestCase(70, 2100, null, null, 66)]
    [TestCase(16, 64, 4, 8, 5)]
    [TestCase(139, 516, null, 12, 2)]
    public void QuantisedLayers(int rows, int columns, int? outputBlock, int? inputBlock, int batch)
        => CheckQuantised(Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 4), batch);

    [Test]
    public void AQuantisedCoreStaysQuantisedBesideWrappersOfTheTypeAskedFor()
    {
        var layer = Generators.RandomLayer(16, 512, 4, 8, 1).RoundedTo(TensorElementType.Float32, TensorElementType.Int8);
        using var backend = Create(set, threads);
        using var weight = backend.PrepareLayer(layer, TensorElementType.BFloat16);
        Assert.That(weight.ElementType, Is.EqualTo(TensorElementType.Int8));
        using var wide = backend.PrepareLayer(Generators.RandomLayer(16, 512, 4, 8, 1), TensorElementType.BFloat16);
        Assert.That(weight.Bytes, Is.LessThan(wide.Bytes));
    }

    [Test]
    public void AQuantisedCoreSeesInputsThatAreNotFinite()
    {
        using var backend = Create(set, threads);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(3, 512, null, null, 1).RoundedTo(TensorElementType.Float32, TensorElementType.Int8), TensorElementType.Float32);
        var input = Generators.Values(new Random(2), 512);
        var output = new float[3];
        foreach (var bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            input[300] = bad;
            weight.Multiply(input, 1, output);
            Assert.That(output, Has.None.Matches<float>(float.IsFinite));
        }

        Array.Fill(input, 1e-44f);
        weight.Multiply(input, 1, output);
        Assert.That(output, Has.All.EqualTo(0f).Within(1e-40f));
    }

    /// <summary>Large enough that the rows are shared by the threads.</summary>
    [Test]
    public void OtherPatternsOnAllThreads([Values(1, 5)] int batch)
    {
        var layer = Generators.RandomLayer(264, 320, 8, 16, 3, new SparsityPattern(4, 8));
        using var backend = Create(set, threads);
        using var weight = backend.PrepareLayer(layer, TensorElementType.Float32);
        CheckProduct(Generators.Dense(layer), batch, weight, 1e-11);
        CheckRowsAlone(weight, batch);
    }

    private static CpuBackend Create(InstructionSet set, int threads)
    {
        // Where the processor lacks it, the next narrower one is tested again.
        var narrower = set > InstructionSets.Best ? InstructionSets.Best : set;
        return new CpuBackend(new CpuBackendOptions { Threads = threads, InstructionSet = narrower });
    }

    /// <summary>Inputs become whole numbers of 16 bits: an error of 1/65534 of a section's largest.</summary>
    private void CheckQuantised(ArmorLayer layer, int batch)
    {
        var quantised = layer.RoundedTo(TensorElementType.Float32, TensorElementType.Int8);
        using var backend = Create(set, threads);
        using var weight = backend.PrepareLayer(quantised, TensorElementType.Float32);
        Assert.That(weight.ElementType, Is.EqualTo(TensorElementType.Int8));
        CheckProduct(Generators.Dense(quantised), batch, weight, 2e-8);
        CheckRowsAlone(weight, batch);
    }
}
