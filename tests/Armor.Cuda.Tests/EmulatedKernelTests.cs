using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>What is these kernels' own: batches of eights and sixteens, splits, 8-bit cores, how exact each type is, which kernels a weight takes.</summary>
internal class EmulatedKernelTests
{
    [Test]
    public void EveryBatchUpToTwoGroups([Values(1, 2, 3, 7, 8, 9, 15, 16, 17, 33)] int batch, [Values] bool isBFloat)
        => Check(Generators.RandomLayer(160, 320, 32, 64, batch), isBFloat ? TensorElementType.BFloat16 : TensorElementType.Float16, null, batch);

    [Test]
    public void EveryNumberOfSplits([Range(1, 7)] int splits)
    {
        // Seven chunks of 256 columns; rows of two blocks, the second one short.
        var layer = Generators.RandomLayer(144, 1700, 16, null, splits);
        Check(layer, TensorElementType.BFloat16, splits, 1);
        Check(layer, TensorElementType.Float16, splits, 11);
    }

    [Test]
    public void LargeBatches([Values(128, 131, 577)] int batch, [Values] bool isBFloat)
    {
        // Rows of one block of threads and a half, and of tiles that are not whole; inputs of more than one launch.
        var type = isBFloat ? TensorElementType.BFloat16 : TensorElementType.Float16;
        Check(Generators.RandomLayer(416, 320, 32, 64, batch), type, null, batch);
        if (batch == 131)
        {
            Check(Generators.RandomLayer(40, 300, null, null, batch), type, null, batch);
            Check(Generators.RandomLayer(48, 260, 6, 13, batch), type, null, batch);
            Check(Generators.RandomLayer(256, 256, 128, 128, batch), type, null, batch);
            CheckQuantised(Generators.RandomLayer(288, 516, 32, null, 4), type, batch, alone: false);
            CheckDense(72, 300, type, batch);
        }
    }

    [TestCase(16)]
    [TestCase(32)]
    [TestCase(64)]
    [TestCase(128)]
    [TestCase(256)]
    public void WrappersOfTheSizesThatModelsHave(int block)
        => Check(Generators.RandomLayer(256, 512, block, block, 3), TensorElementType.BFloat16, 2, 1, 10);

    [Test]
    public void QuantisedCoresOfEveryWidth([Values(4, 252, 256, 260, 516, 1100)] int columns, [Values(1, 9)] int batch)
        => CheckQuantised(Generators.RandomLayer(17, columns, null, null, columns), TensorElementType.Float16, batch);

    [TestCase(160, 512, 32, 64, 5)]
    [TestCase(139, 516, null, 12, 2)]
    [TestCase(48, 260, 6, null, 17)]
    public void QuantisedLayers(int rows, int columns, int? outputBlock, int? inputBlock, int batch)
    {
        foreach (var type in new[] { TensorElementType.BFloat16, TensorElementType.Float16, TensorElementType.Float32 })
        {
            CheckQuantised(Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 4), type, batch);
        }
    }

    [Test]
    public void AQuantisedCoreStaysQuantisedBesideWrappersOfTheTypeAskedFor()
    {
        using var driver = Driver();
        using var backend = Backend(driver);
        var layer = Generators.RandomLayer(128, 512, 128, 128, 1);
        using var weight = backend.PrepareLayer(layer.RoundedTo(TensorElementType.BFloat16, TensorElementType.Int8), TensorElementType.BFloat16);
        using var wide = backend.PrepareLayer(layer, TensorElementType.BFloat16);
        Assert.That(weight.ElementType, Is.EqualTo(TensorElementType.Int8));
        Assert.That(wide.Bytes - weight.Bytes, Is.EqualTo((128 * 256) - (128 * 2 * 2)));
    }

    [Test]
    public void WeightsTakeTheMemoryThatTheyAreSaidTo()
    {
        using var driver = Driver();
        using var backend = Backend(driver);
        using var layer = backend.PrepareLayer(Generators.RandomLayer(128, 512, 128, 128, 1), TensorElementType.BFloat16);
        using var dense = backend.PrepareDense(DenseWeightSource.FromMemory(new float[128 * 512], 128, 512), TensorElementType.BFloat16);
        Assert.That(dense.Bytes, Is.EqualTo(128 * 512 * 2));
        Assert.That(layer.Bytes, Is.EqualTo((128 * 512 * 9 / 8) + ((128 + 512) * 128 * 2)));
    }

    [TestCase(128, 128, "armor_input_bf16,armor_sparse_bf16_8")]
    [TestCase(256, 256, "armor_input_bf16,armor_sparse_bf16_8,armor_rows_blocks")]
    [TestCase(8, 8, "armor_rows_blocks,armor_arrange_bf16,armor_sparse_bf16_8,armor_rows_blocks")]
    [TestCase(null, null, "armor_arrange_bf16,armor_sparse_bf16_8")]
    public void ALayerTakesAsFewLaunchesAsItsBlocksAllow(int? outputBlock, int? inputBlock, string expected)
    {
        using var driver = Driver();
        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(256, 256, outputBlock, inputBlock, 1), TensorElementType.BFloat16);
        weight.Multiply(new float[256], 1, new float[256]);
        Assert.That(string.Join(',', driver.Launches), Is.EqualTo(expected));
    }

    [Test]
    public void WhatIsNotANumberStaysWhereItIs()
    {
        using var driver = Driver();
        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(16, 64, 16, 16, 1), TensorElementType.Float16);
        var input = Generators.Values(new Random(1), 3 * 64);
        var expected = new float[3 * 16];
        weight.Multiply(input, 3, expected);
        input[64 + 7] = float.NaN;
        var output = new float[3 * 16];
        weight.Multiply(input, 3, output);
        Assert.That(output[16..32], Has.None.Matches<float>(float.IsFinite));
        Assert.That(output[..16].Concat(output[32..]), Is.EqualTo(expected[..16].Concat(expected[32..])));
    }

    [Test]
    public void RecordedProductsGiveTheSame()
    {
        using var driver = Driver();
        using var backend = Backend(driver);
        using var weight = (CudaWeight)backend.PrepareLayer(Generators.RandomLayer(160, 320, 32, 64, 1), TensorElementType.BFloat16);
        var expected = new float[3 * 160];
        weight.Multiply(Generators.Values(new Random(5), 3 * 320), 3, expected);
        var run = backend.Enter();
        try
        {
            // The input is still where the product before has put it.
            var input = run.Scratch(ScratchUse.Input, 3 * 320 * sizeof(float));
            using var output = run.Device.Allocate(3 * 160 * sizeof(float));
            using var graph = CudaGraph.Capture(run.Device, run.Stream, () => weight.Product.Multiply(run, input.Address, 3, output.Address));
            var staging = run.Staging(output.Bytes);
            foreach (var round in Enumerable.Range(0, 2))
            {
                output.Fill(0xFF, run.Stream);
                graph.Launch(run.Stream);
                output.CopyTo(staging, output.Bytes, run.Stream);
                run.Stream.Synchronize();
                Assert.That(staging.AsSpan<float>(expected.Length).ToArray(), Is.EqualTo(expected));
            }
        }
        finally
        {
            backend.Leave();
        }
    }

    [TestCase(4096, 4096, 132, 8)]
    [TestCase(11008, 4096, 132, 3)]
    [TestCase(14336, 4096, 132, 2)]
    [TestCase(128, 65536, 132, 64)]
    [TestCase(16, 64, 132, 1)]
    public void SplitsFillTheCard(int rows, int columns, int multiprocessors, int expected)
        => Assert.That(FragmentProduct.BestSplits(rows, columns, multiprocessors), Is.EqualTo(expected));

    private static EmulatedDriver Driver()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        return new EmulatedDriver(capability: 80);
    }

    private static CudaBackend Backend(EmulatedDriver driver, int? splits = null)
        => new(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null, Splits = splits });

    /// <summary>One rounding of inputs, one before A and one before the core: 2⁻⁹ of the value at most in bfloat16, 2⁻¹² in float16.</summary>
    private static double Tolerance(TensorElementType type) => type switch
    {
        TensorElementType.BFloat16 => EmulatedConformanceTests.RoundingToBFloat16,
        TensorElementType.Float16 => EmulatedConformanceTests.RoundingToBFloat16 / 64,
        _ => 1e-11,
    };

    private static void Check(ArmorLayer layer, TensorElementType type, int? splits, params ReadOnlySpan<int> batches)
    {
        using var driver = Driver();
        using var backend = Backend(driver, splits);
        using var weight = backend.PrepareLayer(layer, type);
        var dense = Generators.Dense(layer.RoundedTo(type));
        foreach (var batch in batches)
        {
            Products.Check(dense, batch, weight, Tolerance(type));
        }

        Assert.That(driver.Violations, Is.Empty);
    }

    private static void CheckDense(int rows, int columns, TensorElementType type, int batch)
    {
        // Seven bits: exact in either type.
        float[] values = [.. Generators.Values(new Random(rows), rows * columns).Select(value => MathF.Round(64 * value) / 64)];
        var dense = new double[rows, columns];
        for (var i = 0; i < values.Length; i++)
        {
            dense[i / columns, i % columns] = values[i];
        }

        using var driver = Driver();
        using var backend = Backend(driver);
        using var weight = backend.PrepareDense(DenseWeightSource.FromMemory(values, rows, columns), type);
        Products.Check(dense, batch, weight, Tolerance(type));
        Assert.That(driver.Violations, Is.Empty);
    }

    private static void CheckQuantised(ArmorLayer layer, TensorElementType type, int batch, bool alone = true)
    {
        var quantised = layer.RoundedTo(type, TensorElementType.Int8);
        using var driver = Driver();
        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(quantised, type);
        Products.Check(Generators.Dense(quantised), batch, weight, Tolerance(type));
        if (alone)
        {
            Products.CheckAlone(weight, batch);
        }

        Assert.That(driver.Violations, Is.Empty);
    }

    /// <summary>The checks of the conformance tests, which are theirs.</summary>
    private abstract class Products() : KernelConformanceTests(null!, 0)
    {
        public static void Check(double[,] dense, int batch, KernelWeight weight, double tolerance) => CheckProduct(dense, batch, weight, tolerance);

        public static void CheckAlone(KernelWeight weight, int batch) => CheckRowsAlone(weight, batch);
    }
}
