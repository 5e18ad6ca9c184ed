namespace Armor.Cuda.Tests.Decoding;

/// <summary>Whole models on this machine's card.</summary>
[TestFixture]
[Category("Gpu")]
internal class GpuDecoderTests : DecoderConformanceTests
{
    private CudaBackend backend = null!;

    private protected override CudaBackend Backend => backend;

    [OneTimeSetUp]
    public void NeedsACard()
    {
        backend = new CudaBackend(new CudaBackendOptions { PythonPackages = Environment.GetEnvironmentVariable("ARMOR_PYTHON_PACKAGES") });
        GpuConformanceTests.Require(backend);
    }

    [OneTimeTearDown]
    public void LeaveTheCard() => backend.Dispose();
}
