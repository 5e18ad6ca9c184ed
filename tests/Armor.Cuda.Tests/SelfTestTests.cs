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

        using var driver = new EmulatedDriver { RunsAtOnce = true };
        var (sparse, blas) = (new CheckedSparseLt(), new CheckedBlasLt());
        var report = new StringWriter();
        var aims = new Aims();
        using (var backend = new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null, LibraryBatch = 17 }, sparse, blas))
        {
            new Benchmarks(backend, isQuick: true, report, aims) { Shapes = [(128, 256)], Batches = [1, 17], CopiedBytes = 1, Rounds = 1 }.Run();
        }

        Assert.That(driver.Violations.Concat(sparse.Violations).Concat(blas.Violations), Is.Empty);
        Assert.That((driver.Held, sparse.Live, blas.Live), Is.EqualTo((0, 0, 0)));
        var text = report.ToString();
        Assert.That(text, Does.Contain("### 128×256, batch 1").And.Contain("### 128×256, batch 17").And.Contain("Splits of 128×256").And.Not.Contain("Left out"));
        foreach (var row in new[] { "dense, cuBLASLt", "dense, ours", "2:4, ours", "2:4 int8, ours", "A·S·B, ours", "A·S·B int8, ours", "2:4, cuSPARSELt", "A·S·B, libraries" })
        {
            Assert.That(text, Does.Contain($"| {row} |"));
        }

        var printed = new StringWriter();
        aims.Print(printed);
        Assert.That(printed.ToString(), Does.Match(@"\| 128×256, batch 1: 2:4, ours against dense, cuBLASLt \| ≥ 1\.60× \| \d+\.\d\d× \| (reached|missed) \|"));
    }

    [Test]
    public void AimsAreReachedMissedOrNotMeasured()
    {
        var aims = new Aims();
        aims.Add((4096, 4096), 1, Benchmarks.DenseBlas, 16, 0.9);
        aims.Add((4096, 4096), 1, Benchmarks.Core, 10, 0.86);
        aims.Add((4096, 4096), 1, Benchmarks.Layer, 11, 0.8);
        aims.Add((4096, 4096), 2048, Benchmarks.DenseBlas, 100, 0.1);
        aims.Add((4096, 4096), 2048, Benchmarks.Layer, 79, 0.1);
        aims.AddPyTorch("| 4096×4096 | 1 | 17.00 | 12.50 | 1.36× |\n| 4096×4096 | 2048 | 90.00 | RuntimeError: no |  |\n");
        aims.Add(WholeModel.Factorised, 1, 1.45, 0.63);
        var report = new StringWriter();
        aims.Print(report);
        Assert.That(report.ToString().Split(report.NewLine).Skip(4).TakeWhile(line => line.Length > 0), Is.EqualTo(new[]
        {
            "| 4096×4096, batch 1: 2:4, ours against dense, cuBLASLt | ≥ 1.60× | 1.60× | reached |",
            "| 4096×4096, batch 1: 2:4, ours, of the copy bandwidth | ≥ 85 % | 86 % | reached |",
            "| 4096×4096, batch 1: A·S·B, ours against dense, cuBLASLt | ≥ 1.50× | 1.45× | missed |",
            "| 4096×4096, batch 1: A·S·B, ours, of the copy bandwidth | ≥ 85 % | 80 % | missed |",
            "| 4096×4096, batch 1: 2:4, ours against PyTorch's semi-structured tensors | ≥ 1.00× | 1.25× | reached |",
            "| 4096×4096, batch 2048: A·S·B, ours against dense, cuBLASLt | ≥ 1.25× | 1.27× | reached |",
            "| 4096×4096, batch 2048: 2:4, ours against PyTorch's semi-structured tensors | ≥ 1.00× |  | not measured |",
            "| model, one sequence: tokens a second, A·S·B against dense | ≥ 1.40× | 1.45× | reached |",
            "| model: memory, A·S·B against dense | ≤ 0.62× | 0.63× | missed |",
            "| model, one sequence: tokens a second, A·S·B int8 against dense | ≥ 1.40× |  | not measured |",
            "| model: memory, A·S·B int8 against dense | ≤ 0.62× |  | not measured |",
        }));
    }

    [Test]
    public void ModelsAreCheckedToTheirEnd()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }

        using var driver = new EmulatedDriver();
        var report = new StringWriter();
        using (var backend = new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null }))
        {
            Assert.That(new ModelConformance(backend, report) { Families = ["Llama", "Qwen3-MoE, one expert of four, raw weights"] }.Run(), Is.True, report.ToString);
        }

        Assert.That((driver.Held, driver.Violations), Is.EqualTo((0, new List<string>())));
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
            var shape = new WholeModel(backend, 1, report, new Aims()).Configuration;
            var model = new WholeModel(backend, 1, report, new Aims())
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
