using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>
/// What every backend must do, done by the CUDA kernels as C++ on this machine: the same source, the same packing, the same launches. What it cannot
/// show: whether NVRTC takes the source, and the speed.
/// </summary>
[TestFixtureSource(nameof(Fixtures))]
internal class EmulatedConformanceTests : KernelConformanceTests
{
    /// <summary>Inputs and the vectors between factors are rounded to the type, to 2⁻⁹ of themselves in bfloat16.</summary>
    private const double RoundingToBFloat16 = 6e-6;

    private readonly EmulatedDriver driver;

    public EmulatedConformanceTests(EmulatedDriver driver, int? splits)
        : base(Create(driver, splits), RoundingToBFloat16) => this.driver = driver;

    public static IEnumerable<TestFixtureData> Fixtures()
    {
        yield return new TestFixtureData(new EmulatedDriver(), null).SetArgDisplayNames("splits by rule");
        yield return new TestFixtureData(new EmulatedDriver(capability: 80, multiprocessors: 108), 3).SetArgDisplayNames("three splits");
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

    private static CudaBackend Create(EmulatedDriver driver, int? splits)
        => new(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null, Splits = splits });
}
