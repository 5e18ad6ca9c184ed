using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;

namespace Armor.Cuda.Tests;

/// <summary>
/// What every backend must do, done by the CUDA kernels as C++ on this machine: the same source, the same packing, the same launches. What it cannot
/// show: whether NVRTC takes the source, how the card's own mma rounds, and the speed.
/// </summary>
[TestFixtureSource(nameof(Fixtures))]
internal class EmulatedConformanceTests : KernelConformanceTests
{
    /// <summary>Inputs and the vectors between factors are rounded to the type, to 2⁻⁹ of themselves in bfloat16.</summary>
    public const double RoundingToBFloat16 = 6e-6;

    private readonly EmulatedDriver driver;

    public EmulatedConformanceTests(EmulatedDriver driver)
        : base(Create(driver), RoundingToBFloat16) => this.driver = driver;

    public static IEnumerable<TestFixtureData> Fixtures()
    {
        // Few multiprocessors: columns are cut into up to six parts.
        yield return new TestFixtureData(new EmulatedDriver(multiprocessors: 3)).SetArgDisplayNames("emulated");
    }

    [OneTimeSetUp]
    public void NeedsACompiler()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }
    }

    [TearDown]
    public void NothingWasWrittenBeyondItsPlace()
    {
        driver.CheckAllGuards();
        Assert.That(driver.Violations, Is.Empty);
    }

    // Fixtures are made before it is known whether they are ignored.
    private static CudaBackend Create(EmulatedDriver driver)
        => new(driver, HostCompiler.Missing is null ? new HostCompiler() : new NoCompiler(), new CudaBackendOptions { KernelCacheFolder = null });
}
