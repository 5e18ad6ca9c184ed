using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>What is missing or fails gives a reason or a named error, and the process stays usable.</summary>
internal class FailureTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void DeleteFiles() => folder.Dispose();

    [Test]
    public void WithoutADriverEverySupportHasTheReason()
    {
        using var backend = new CudaBackend(new CudaBackendOptions { KernelCacheFolder = null });
        if (backend.Unavailable is null)
        {
            Assert.Ignore("This machine has a card.");
        }

        var support = backend.Supports(KernelOperation.Dense, new KernelShape(4, 4), TensorElementType.BFloat16);
        Assert.That(support.Reason, Is.EqualTo(backend.Unavailable).And.Not.Empty);
        Assert.That(backend.Name, Is.EqualTo("CUDA, unavailable"));
        Assert.That(backend.Libraries, Is.Not.Empty);
        Assert.That(backend.Libraries[0].Tried, Is.Not.Empty);
        Assert.That(
            () => backend.PrepareDense(DenseWeightSource.FromMemory(new float[16], 4, 4), TensorElementType.BFloat16),
            Throws.TypeOf<NotSupportedException>().With.Message.EqualTo(backend.Unavailable));
    }

    [TestCase(nameof(ICudaDriver.Init), 100, "cuInit")]
    [TestCase(nameof(ICudaDriver.DeviceGetCount), 100, "count")]
    [TestCase(nameof(ICudaDriver.PrimaryContextRetain), 2, "cuDevicePrimaryCtxRetain")]
    [TestCase(nameof(ICudaDriver.ModuleLoad), 209, "cuModuleLoadData")]
    public void AFailureOfTheStartIsAReason(string call, int status, string expected)
    {
        using var driver = new EmulatedDriver { Failure = (call, status) };
        using var backend = new CudaBackend(driver, new OneByteCompiler(), new CudaBackendOptions { KernelCacheFolder = null });
        Assert.That(backend.Unavailable, Does.Contain(expected).And.Contain(driver.Describe(status)));
        Assert.That(backend.Supports(KernelOperation.Armor, new KernelShape(16, 16, 16, 16), TensorElementType.Float16).IsSupported, Is.False);
        Assert.That(driver.Held, Is.Zero);
    }

    [Test]
    public void AnOldCardIsAReason()
    {
        using var driver = new EmulatedDriver(capability: 75);
        using var backend = new CudaBackend(driver, new NoCompiler(), new CudaBackendOptions());
        Assert.That(backend.Unavailable, Does.Contain("7.5").And.Contain("8.0"));
    }

    [TestCase(90, 12020, false)] // recording early launches needs 12.3
    [TestCase(90, 12030, true)]
    [TestCase(100, 13000, true)]
    [TestCase(80, 13000, false)]
    public void KernelsBeginEarlyOnlyWhereCardAndDriverCan(int capability, int version, bool expected)
    {
        using var driver = new EmulatedDriver(capability) { Version = version };
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(16, 32, 16, 16, 1), TensorElementType.Float16);
        weight.Multiply(new float[32], 1, new float[16]);
        Assert.That(driver.EarlyLaunches, Is.EqualTo(expected ? 2 : 0));
    }

    [TestCase("12.4", "12.8", 80, null)]
    [TestCase("12.4", "12.8", 90, "12.5")]
    [TestCase("12.8", "12.4", 90, null)] // one major version of CUDA runs what its minor ones compile
    [TestCase("13.0", "12.8", 90, "driver")]
    public void KnownBadCompilersAreWarnedAbout(string compiler, string driver, int capability, string? expected)
    {
        var warning = KnownVersions.WarningOfCompiler(new Version(compiler), new Version(driver), capability);
        Assert.That(warning, expected is null ? Is.Null : Does.Contain(expected));
    }

    [Test]
    public void OldDriversAreWarnedAbout()
        => Assert.That((KnownVersions.WarningOfDriver(new Version(11, 1)), KnownVersions.WarningOfDriver(new Version(11, 2))), Is.EqualTo(("older than 11.2, the oldest that we know", (string?)null)));

    [Test]
    public void WithoutNvidiasLibrariesTheReportSaysWhereTheyWereLookedFor()
    {
        using var driver = new EmulatedDriver();
        Assert.That(CudaDevice.TryOpen(driver, 0, out var device), Is.Null);
        var libraries = new List<CudaLibrary>();
        var nowhere = folder.File("nowhere");
        var search = new LibrarySearch([nowhere], null);
        if (CudaBackend.OpenPrefill(search, device!, libraries) is { } found)
        {
            found.Dispose();
            device!.Dispose();
            Assert.Ignore("This machine has cuBLASLt and cuSPARSELt.");
        }

        Assert.That(libraries.Select(library => library.Name), Is.EqualTo(new[] { "cuBLASLt", "cuSPARSELt" }));
        Assert.That(libraries.Where(library => !library.IsFound).SelectMany(library => library.Tried), Has.Some.EqualTo($"{nowhere}: no such folder"));
        device!.Dispose();
    }

    [Test]
    public void AMissingCardIsAReason()
    {
        using var driver = new EmulatedDriver();
        using var backend = new CudaBackend(driver, new NoCompiler(), new CudaBackendOptions { Device = 3 });
        Assert.That(backend.Unavailable, Does.Contain("device 3").And.Contain("sees 1"));
    }

    [Test]
    public void TooLittleMemoryIsANamedErrorAndTheBackendGoesOn()
    {
        using var driver = Emulated(memoryBytes: 1 << 20);
        using var backend = Backend(driver);
        Assert.That(
            () => backend.PrepareDense(DenseWeightSource.FromMemory(new float[1024 * 1024], 1024, 1024), TensorElementType.BFloat16),
            Throws.TypeOf<CudaException>().With.Message.Contains("cuMemAlloc").And.Message.Contains("OUT_OF_MEMORY").And.Message.Contains("1 MiB are free"));
        using var weight = backend.PrepareDense(DenseWeightSource.FromMemory(new float[16], 4, 4), TensorElementType.BFloat16);
        Assert.That(() => weight.Multiply(new float[4], 1, new float[4]), Throws.Nothing);
    }

    [Test]
    public void AFailedLaunchNamesTheKernel()
    {
        using var driver = Emulated();
        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(16, 32, 16, 16, 1), TensorElementType.Float16);
        driver.Failure = (nameof(ICudaDriver.Launch), 701);
        Assert.That(
            () => weight.Multiply(new float[32], 1, new float[16]),
            Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Status)).EqualTo(701).And.Message.Contains("armor_input_f16"));
        driver.Failure = null;
        Assert.That(() => weight.Multiply(new float[32], 1, new float[16]), Throws.Nothing);
    }

    [Test]
    public void AFailureOnTheWayBackIsTold()
    {
        using var driver = Emulated();
        using var backend = Backend(driver);
        using var weight = backend.PrepareLayer(Generators.RandomLayer(16, 32, 16, 16, 1), TensorElementType.Float16);
        driver.Failure = (nameof(ICudaDriver.StreamSynchronize), 700);
        Assert.That(() => weight.Multiply(new float[32], 1, new float[16]), Throws.TypeOf<CudaException>().With.Message.Contains("cuStreamSynchronize"));
        driver.Failure = null;
    }

    [Test]
    public void EverythingIsGivenBack()
    {
        using var driver = Emulated();
        var backend = Backend(driver);
        var weight = backend.PrepareLayer(Generators.RandomLayer(48, 64, 48, 4, 1), TensorElementType.BFloat16);
        weight.Multiply(new float[64 * 3], 3, new float[48 * 3]);
        weight.Dispose();
        backend.Dispose();
        backend.Dispose();
        Assert.That((driver.Held, driver.Violations.Count), Is.EqualTo((0, 0)));
        Assert.That(() => backend.PrepareLayer(Generators.RandomLayer(4, 4, null, null, 1), TensorElementType.Float16), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void WeightsMayOutliveTheBackend()
    {
        using var driver = Emulated();
        var backend = Backend(driver);
        var weight = backend.PrepareLayer(Generators.RandomLayer(4, 4, null, null, 1), TensorElementType.Float16);
        backend.Dispose();
        Assert.That(() => weight.Multiply(new float[4], 1, new float[4]), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(weight.Dispose, Throws.Nothing);
    }

    [Test]
    public void KernelsAreCompiledOnceAndKeptByTheirHash()
    {
        using var driver = Emulated();
        var compiler = new HostCompiler();
        var options = new CudaBackendOptions { KernelCacheFolder = folder.File("kernels") };
        new CudaBackend(driver, compiler, options).Dispose();
        var file = Directory.GetFiles(options.KernelCacheFolder!).Single();
        Assert.That(file, Does.EndWith("-sm_90.bin"));
        new CudaBackend(driver, compiler, options).Dispose();
        Assert.That(compiler.Compilations, Is.EqualTo(1));

        // Half a file, as a machine that stops leaves it, is compiled anew.
        File.WriteAllBytes(file, File.ReadAllBytes(file)[..^1]);
        using var again = new CudaBackend(driver, compiler, options);
        Assert.That((again.Unavailable, compiler.Compilations), Is.EqualTo(((string?)null, 2)));
    }

    [Test]
    public void ACacheThatCannotBeWrittenCostsOnlyTime()
    {
        var file = folder.File("not-a-folder");
        File.WriteAllText(file, "");
        using var driver = Emulated();
        using var backend = new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = file });
        Assert.That(backend.Unavailable, Is.Null);
    }

    [Test]
    public void WhatTheCompilerSaysIsTheReason()
    {
        using var driver = new EmulatedDriver();
        using var backend = new CudaBackend(driver, new FailingCompiler(), new CudaBackendOptions { KernelCacheFolder = null });
        Assert.That(backend.Unavailable, Does.Contain("line 7 is wrong").And.Contain("Emulated card"));
        Assert.That(driver.Held, Is.Zero);
    }

    [Test]
    public void OptionsAreCheckedTogether()
        => Assert.That(
            () => new CudaBackend(new CudaBackendOptions { Device = -1, LibraryBatch = -2, LibraryFolders = [""] }),
            Throws.ArgumentException.With.Message.Contains("Device").And.Message.Contains("LibraryBatch").And.Message.Contains("LibraryFolders"));

    private static EmulatedDriver Emulated(long memoryBytes = 1L << 32)
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        return new EmulatedDriver(memoryBytes: memoryBytes);
    }

    private static CudaBackend Backend(EmulatedDriver driver) => new(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null });

    private sealed class OneByteCompiler : IKernelCompiler
    {
        public string Name => "one byte";

        public byte[] Compile(string source, int capability) => [1];
    }

    private sealed class FailingCompiler : IKernelCompiler
    {
        public string Name => "failing";

        public byte[] Compile(string source, int capability) => throw new CudaException("line 7 is wrong");
    }
}
