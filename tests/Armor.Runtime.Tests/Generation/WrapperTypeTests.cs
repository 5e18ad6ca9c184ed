using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;
using static Armor.Runtime.Tests.Generation.HeldTypeModels;

namespace Armor.Runtime.Tests.Generation;

/// <summary>Wrappers in another type than the stored one, and nothing else.</summary>
internal sealed class WrapperTypeTests
{
    private static readonly string[] Pruned = ["model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj"];

    private TemporaryFolder folder = null!;
    private string dense = null!;
    private string pruned = null!;

    [SetUp]
    public void WriteModels()
    {
        folder = new TemporaryFolder();
        dense = Write(folder.File("dense"), Tied);
        pruned = Prune(dense, folder.File("pruned"), Pruned);
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    /// <summary>Against a model that stores the rounded wrappers.</summary>
    [Test]
    public void TheWrappersAreRoundedAndNothingElse()
    {
        var rounded = Prune(
            dense,
            folder.File("rounded"),
            Pruned,
            layer => new ArmorLayer(null, layer.Core, layer.InputWrapper!.RoundedTo(TensorElementType.Int8)),
            TensorElementType.Float32);
        var expected = LogitsWith(rounded, new ArmorModelOptions());
        Assert.That(NormalisedError(LogitsWith(pruned, new ArmorModelOptions { WrapperType = TensorElementType.Int8 }), expected), Is.LessThan(1e-7));
        Assert.That(NormalisedError(LogitsWith(pruned, new ArmorModelOptions()), expected), Is.GreaterThan(1e-6), "they were rounded at all");
    }

    [TestCase(TensorElementType.BFloat16)]
    [TestCase(TensorElementType.Float32)]
    public void ATypeThatHoldsEveryValueChangesNothing(TensorElementType type)
        => Assert.That(
            NormalisedError(LogitsWith(pruned, new ArmorModelOptions { WrapperType = type }), LogitsWith(pruned, new ArmorModelOptions())), Is.LessThan(1e-12));

    [Test]
    public void ADenseModelHasNone()
        => Assert.That(LogitsWith(dense, new ArmorModelOptions { WrapperType = TensorElementType.Int8 }), Is.EqualTo(LogitsWith(dense, new ArmorModelOptions())));

    [Test]
    public void TheyTakeLessMemory()
    {
        using var backend = new CpuBackend();
        var layer = KernelConformance.Generators.RandomLayer(512, 512, 128, 128, 1);
        using var stored = backend.PrepareLayer(layer, TensorElementType.BFloat16);
        using var int8 = backend.PrepareLayer(layer, TensorElementType.BFloat16, TensorElementType.Int8);

        // Two wrappers of 512 rows of 128 values: a byte less each, a scale and a diagonal of four bytes more a row.
        Assert.That(stored.Bytes - int8.Bytes, Is.EqualTo(2 * 512 * (128 - 8)));
    }

    [Test]
    public void ATokenAllocatesNothing()
        => Assert.That(AllocatedByTokens(pruned, new ArmorModelOptions { WrapperType = TensorElementType.Int8 }), Is.Zero);

    [TestCase(TensorElementType.Float64)]
    [TestCase(TensorElementType.Int32)]
    public void OtherTypesAreRefused(TensorElementType type)
        => Assert.That(
            () => ArmorModel.Load(pruned, new ArmorModelOptions { WrapperType = type, CacheType = TensorElementType.BFloat16 }),
            Throws.ArgumentException.With.Message.Contains($"WrapperType must be Float32, BFloat16, Float16 or Int8; found {type}").And.Message.Contains("CacheType"));

    [Test]
    public void ABackendThatHoldsThemLikeTheirCoreSaysSo()
    {
        using var backend = new PlainBackend();
        Assert.That(
            () => ArmorModel.Load(pruned, new ArmorModelOptions { Backend = backend, WrapperType = TensorElementType.Int8 }),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("_proj").And.Message.Contains("holds wrappers in the type of their core, BFloat16, not as Int8"));
        Assert.That(
            () => ArmorModel.Load(pruned, new ArmorModelOptions { Backend = backend, WrapperType = TensorElementType.BFloat16 }).Dispose(), Throws.Nothing);
    }
}
