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
internal class CpuBackendTests(InstructionSet set, int threads) : KernelConformanceTests(Create(set, threads), 1e-11, Int8Tolerance)
{
    /// <summary>Inputs become whole numbers of 16 bits: an error of 1/65534 of a section's largest.</summary>
    private const double Int8Tolerance = 2e-8;

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

    /// <summary>A byte a weight, and four for each 256 columns of a row.</summary>
    [Test]
    public void ADenseWeightInInt8TakesABytePerWeight()
    {
        using var backend = Create(set, threads);
        using var weight = backend.PrepareDense(DenseWeightSource.FromMemory(new float[64 * 1024], 64, 1024), TensorElementType.Int8);
        Assert.That(weight.Bytes, Is.EqualTo((64 * 1024) + (64 * 4 * sizeof(float))));
        var output = new float[64];
        weight.Multiply(Generators.Values(new Random(1), 1024), 1, output);
        Assert.That(output, Has.All.EqualTo(0f));
    }

    /// <summary>The largest sums of a section that there are: every weight and every input at its limit.</summary>
    [Test]
    public void NoSectionOverflows([Values(1, 2, 3, 9)] int batch)
    {
        const int Columns = 1024;
        using var backend = Create(set, threads);
        var values = new float[4 * Columns];
        Array.Fill(values, -127f);
        using var weight = backend.PrepareDense(DenseWeightSource.FromMemory(values, 4, Columns), TensorElementType.Int8);
        var input = new float[batch * Columns];
        Array.Fill(input, 32767f);
        var output = new float[batch * 4];
        weight.Multiply(input, batch, output);
        Assert.That(output, Has.All.EqualTo(-127f * 32767f * Columns).Within(1e-4).Percent);
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
}
