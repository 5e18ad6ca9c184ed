using Armor.KernelConformance;

namespace Armor.Cuda.Tests;

/// <summary>What every backend must do, on this machine's card.</summary>
[TestFixture]
[Category("Gpu")]
internal class GpuConformanceTests : KernelConformanceTests
{
    private readonly CudaBackend backend;

    public GpuConformanceTests()
        : this(new CudaBackend(new CudaBackendOptions { PythonPackages = Environment.GetEnvironmentVariable("ARMOR_PYTHON_PACKAGES") }))
    {
    }

    private GpuConformanceTests(CudaBackend backend)
        : base(backend, EmulatedConformanceTests.RoundingToBFloat16) => this.backend = backend;

    [OneTimeSetUp]
    public void NeedsACard() => Require(backend);

    /// <summary>Ignores the fixture where there is no card, or fails it where one is required.</summary>
    public static void Require(CudaBackend backend)
    {
        if (backend.Unavailable is not { } reason)
        {
            return;
        }

        if (Environment.GetEnvironmentVariable("ARMOR_REQUIRE_GPU") == "1")
        {
            Assert.Fail($"ARMOR_REQUIRE_GPU is 1. {reason}");
        }

        Assert.Ignore(reason);
    }
}
