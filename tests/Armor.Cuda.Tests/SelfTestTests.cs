using Armor.Cuda.SelfTest;
using Armor.Cuda.Tests.Emulation;

namespace Armor.Cuda.Tests;

/// <summary>The program that is carried to a machine with a card works before it is carried there. Its numbers mean nothing here.</summary>
internal class SelfTestTests
{
    [Test]
    public void MeasurementsComeToTheirEnd()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        using var driver = new EmulatedDriver();
        var (sparse, blas) = (new CheckedSparseLt(), new CheckedBlasLt());
        var report = new StringWriter();
        using (var backend = new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null, LibraryBatch = 17 }, sparse, blas))
        {
            new Benchmarks(backend, isQuick: true, report) { Shapes = [(128, 256)], Batches = [1, 17], CopiedBytes = 1, Rounds = 1 }.Run();
        }

        Assert.That(driver.Violations.Concat(sparse.Violations).Concat(blas.Violations), Is.Empty);
        Assert.That((driver.Held, sparse.Live, blas.Live), Is.EqualTo((0, 0, 0)));
        var text = report.ToString();
        Assert.That(text, Does.Contain("### 128×256, batch 1").And.Contain("### 128×256, batch 17").And.Contain("Splits of 128×256").And.Not.Contain("Left out"));
        foreach (var row in new[] { "dense, cuBLASLt", "dense, ours", "2:4, ours", "2:4 int8, ours", "A·S·B, ours", "A·S·B int8, ours", "2:4, cuSPARSELt", "A·S·B, libraries" })
        {
            Assert.That(text, Does.Contain($"| {row} |"));
        }
    }

    [Test]
    public void AWholeModelIsMeasuredToItsEnd()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        using var driver = new EmulatedDriver();
        var report = new StringWriter();
        using (var backend = new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null }))
        {
            var shape = new WholeModel(backend, 1, report).Configuration;
            var model = new WholeModel(backend, 1, report)
            {
                Configuration = shape with
                {
                    HiddenSize = 128, IntermediateSize = 256, AttentionHeadCount = 2, KeyValueHeadCount = 1, HeadSize = 64, VocabularySize = 96,
                },
                Prompt = 3, Tokens = 3, Batches = [1, 2],
            };
            Assert.That(model.Run());
        }

        Assert.That((driver.Held, driver.Violations), Is.EqualTo((0, new List<string>())));
        var rows = report.ToString().Split('\n').Where(line => line.StartsWith("| dense |", StringComparison.Ordinal) || line.StartsWith("| A·S·B", StringComparison.Ordinal)).ToArray();
        Assert.That(rows, Has.Length.EqualTo(6).And.Some.Contains("| A·S·B int8 |"), report.ToString());
        Assert.That(report.ToString(), Does.Not.Contain("NaN").And.Not.Contain("Left out"));
    }

    [Test]
    public void ChecksFindWhatIsWrong()
    {
        using var backend = new CudaBackend(new CudaBackendOptions { KernelCacheFolder = null, LibraryFolders = ["/nowhere"] });
        if (backend.Unavailable is null)
        {
            Assert.Ignore("This machine has a card.");
        }

        var report = new StringWriter();
        Assert.That(new Conformance(backend, report).Run(isQuick: true), Is.False);
        Assert.That(report.ToString(), Does.Contain(" 0 passed".TrimStart()));
    }

    [TestCase("--device", "x")]
    [TestCase("--device")]
    [TestCase("--what")]
    [TestCase("--layers", "-1")]
    public void WrongArgumentsAreNamed(params string[] arguments)
        => Assert.That(() => Arguments.Parse(arguments), Throws.ArgumentException.With.Message.Contains(arguments[0]));

    [Test]
    public void ArgumentsAreRead()
        => Assert.That(
            Arguments.Parse(["--quick", "--device", "2", "--python-packages", "/p", "--no-pytorch", "--layers", "4"]),
            Is.EqualTo(new Arguments(2, "/p", true, false, false, 4)));
}
