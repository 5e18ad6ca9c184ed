using System.Runtime.CompilerServices;
using Armor.Cuda.Interop;
using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>Large batches by NVIDIA's libraries, against libraries that check how they are called.</summary>
internal class PrefillTests
{
    private const int LibraryBatch = 5;

    private EmulatedDriver driver = null!;
    private CheckedSparseLt sparse = null!;
    private CheckedBlasLt blas = null!;

    [SetUp]
    public void MakeLibraries()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        (driver, sparse, blas) = (new EmulatedDriver { RunsAtOnce = true }, new CheckedSparseLt(), new CheckedBlasLt());
    }

    [TearDown]
    public void EverythingWasKeptAndGivenBack()
    {
        if (driver is null)
        {
            return;
        }

        driver.CheckAllGuards();
        Assert.That(driver.Violations.Concat(sparse.Violations).Concat(blas.Violations), Is.Empty);
        Assert.That((driver.Held, sparse.Live, blas.Live), Is.EqualTo((0, 0, 0)));
        driver.Dispose();
    }

    [TestCase(64, 128, 16, 32, 7)]
    [TestCase(128, 64, 128, null, 70)]
    [TestCase(48, 272, null, 16, 5)]
    [TestCase(32, 320, null, null, 64)]
    public void LargeBatchesGiveTheSameProduct(int rows, int columns, int? outputBlock, int? inputBlock, int batch)
    {
        var layer = Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 3);
        using var backend = Backend();
        foreach (var type in new[] { TensorElementType.BFloat16, TensorElementType.Float16 })
        {
            using var weight = backend.PrepareLayer(layer, type);
            Products.Check(Generators.Dense(layer.RoundedTo(type)), batch, weight);
            using var quantised = backend.PrepareLayer(layer.RoundedTo(type, TensorElementType.Int8), type);
            Products.Check(Generators.Dense(layer.RoundedTo(type, TensorElementType.Int8)), batch, quantised);
        }

        Assert.That(sparse.Calls, Has.Member("Matmul"));
    }

    [Test]
    public void TheSequenceIsThatOfTheDocumentation()
    {
        using (var backend = Backend())
        {
            using var weight = backend.PrepareLayer(Generators.RandomLayer(32, 64, null, null, 1), TensorElementType.BFloat16);
            weight.Multiply(new float[64 * 5], 5, new float[32 * 5]);
            weight.Multiply(new float[64 * 6], 6, new float[32 * 6]);
        }

        Assert.That(string.Join(' ', sparse.Calls), Is.EqualTo(
            "Init GetVersion StructuredDescriptorInit DenseDescriptorInit DenseDescriptorInit MatmulDescriptorInit AlgorithmSelectionInit PlanInit "
            + "PruneCheck CompressedSize Compress GetWorkspace Search GetWorkspace Matmul GetWorkspace Matmul "
            + "PlanDestroy AlgorithmSelectionDestroy MatDescriptorDestroy MatDescriptorDestroy MatDescriptorDestroy Destroy"));
    }

    [Test]
    public void SmallBatchesAndOtherShapesAreOurOwn()
    {
        using var backend = Backend();
        using var weight = backend.PrepareLayer(Generators.RandomLayer(32, 64, null, null, 1), TensorElementType.BFloat16);
        weight.Multiply(new float[64 * 4], 4, new float[32 * 4]);
        using var odd = backend.PrepareLayer(Generators.RandomLayer(30, 64, null, null, 1), TensorElementType.BFloat16);
        odd.Multiply(new float[64 * 6], 6, new float[30 * 6]);
        using var blocks = backend.PrepareLayer(Generators.RandomLayer(32, 64, 8, null, 1), TensorElementType.BFloat16);
        blocks.Multiply(new float[64 * 6], 6, new float[32 * 6]);
        Assert.That(sparse.Calls, Is.EqualTo(new[] { "Init", "GetVersion" }));
    }

    [TestCase("StructuredDescriptorInit")]
    [TestCase("MatmulDescriptorInit")]
    [TestCase("PlanInit")]
    [TestCase("CompressedSize")]
    [TestCase("Compress")]
    [TestCase("Search")]
    [TestCase("Matmul")]
    public void ARefusalIsANamedErrorAndNothingLeaks(string call)
    {
        using var backend = Backend();
        using var weight = backend.PrepareLayer(Generators.RandomLayer(32, 64, null, null, 1), TensorElementType.BFloat16);
        sparse.Failing = call;
        Assert.That(
            () => weight.Multiply(new float[64 * 5], 5, new float[32 * 5]),
            Throws.TypeOf<CudaException>().With.Message.Contains("cusparseLt").And.Message.Contains("32×64").And.Message.Contains("CUSPARSE_STATUS_3"));
        weight.Multiply(new float[64], 1, new float[32]);
        sparse.Failing = null;
        weight.Multiply(new float[64 * 5], 5, new float[32 * 5]);
    }

    [Test]
    public void OldVersionsAreRefusedAndKnownBadOnesWarnedAbout()
    {
        sparse = new CheckedSparseLt(version: 400);
        Assert.That(() => Backend(), Throws.TypeOf<CudaException>().With.Message.Contains("0.4.0"));
        sparse = new CheckedSparseLt(version: 800);
        using var backend = Backend();
        Assert.That(backend.Prefill!.SparseWarning, Does.Contain("0.8.1"));
    }

    [Test]
    public void StructuresOfCuBlasLtHaveItsSizes()
        => Assert.That((Unsafe.SizeOf<BlasLtAlgorithm>(), Unsafe.SizeOf<BlasLtHeuristic>()), Is.EqualTo((64, 96)));

    private CudaBackend Backend()
        => new(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null, LibraryBatch = LibraryBatch }, sparse, blas);

    private abstract class Products() : KernelConformanceTests(null!, 0)
    {
        // One rounding more than in our own kernels: what comes out of the core; an 8-bit value times its scale is rounded too.
        public static void Check(double[,] dense, int batch, KernelWeight weight) => CheckProduct(dense, batch, weight, 2 * EmulatedConformanceTests.RoundingToBFloat16);
    }
}
