using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Allocation;
using Armor.Core.Pruning.Planning;
using Armor.Runtime.Checkpoints;
using TorchSharp;

namespace Armor.Core.Tests.Pruning;

public class ModelPrunerResumeTests
{
    private const int LinearCount = 7 * TinyLlama.LayerCount;

    private static readonly ModelPrunerOptions Resume = new() { Resume = true, TokensPerBatch = TinyLlama.ContextLength - 1 };

    private TemporaryFolder folder = null!;
    private string model = null!;

    [SetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = TinyLlama.Write(folder.File("model"));
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase(CalibrationMode.Dense, null)]
    [TestCase(CalibrationMode.Sequential, null)]
    [TestCase(CalibrationMode.Sequential, TensorElementType.Int8)]
    public void ARunInterruptedAnywhereGivesTheSameBytes(CalibrationMode mode, TensorElementType? core)
    {
        ModelPrunerOptions options = Resume with { Calibration = mode, CoreStorage = core };
        ModelPruningReport whole = Run("whole", options);
        // In and between groups of linears, in the first layer and in the last.
        foreach (int stop in new[] { 0, 1, 3, 6, 7, 12, 13 })
        {
            string name = "stopped" + stop;
            Assert.That(() => Run(name, options, stopAfter: stop), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(Directory.Exists(folder.File(name)), Is.False, "no output before its time");
            ModelPruningReport resumed = Run(name, options);
            AssertSameFolders(name);
            Assert.That(
                resumed.Linears.Select(linear => (linear.Name, linear.Loss, linear.StartLoss, linear.Bytes, string.Concat(linear.Notes))),
                Is.EqualTo(whole.Linears.Select(linear => (linear.Name, linear.Loss, linear.StartLoss, linear.Bytes, string.Concat(linear.Notes)))));
        }
    }

    [Test]
    public void TheBackwardPassIsMadeOnceThoughNoLinearWasFinished()
    {
        var options = new ModelPrunerOptions { Pruner = ArmorPrunerOptions.Fast with { BlockSize = 4, MaxDegreeOfParallelism = 1 }, MaxSamples = 4, Resume = true };
        using var source = new CancellationTokenSource();
        var first = new Observer(step =>
        {
            if (step.Loss is not null)
            {
                source.Cancel();
            }
        });
        Assert.That(() => Prune(first, source.Token), Throws.InstanceOf<OperationCanceledException>());
        var second = new Observer(_ => { });
        Prune(second, default);
        Assert.Multiple(() =>
        {
            Assert.That(first.Names, Has.Some.StartsWith("gradients"));
            Assert.That(second.Names, Has.None.StartsWith("gradients"));
            Assert.That(Directory.Exists(folder.File("out.partial")), Is.False);
        });

        void Prune(IProgress<ModelPruningProgress> progress, CancellationToken cancellationToken) =>
            ModelPruner.PruneTokensAsync(model, folder.File("out"), TinyLlama.Sequences(4), options, progress, cancellationToken).GetAwaiter().GetResult();
    }

    [Test]
    public void TrialsOfBlockSizesAreMadeOnceAndARunStoppedAmongThemGivesTheSameBytes([Values] bool spilling)
    {
        var options = new ModelPrunerOptions
        {
            Pruner = ArmorPrunerOptions.Fast with { BlockSize = 4, MaxDegreeOfParallelism = 1 },
            MaxSamples = 8,
            TokensPerBatch = TinyLlama.ContextLength - 1,
            Resume = true,
        };
        if (spilling)
        {
            options = options with { MemoryBudget = Smallest(new ArmorLinearPruner(options.Pruner).Moments, options) };
        }

        Prune("whole", new Observer(_ => { }), default);

        // On entering the second layer: the first one's trials are there.
        using var source = new CancellationTokenSource();
        string trials = Path.Combine(folder.File("out.partial"), "trials");
        var first = new Observer(step =>
        {
            if (step.Linear == "block sizes, layer 1")
            {
                source.Cancel();
            }
        });
        Assert.That(() => Prune("out", first, source.Token), Throws.InstanceOf<OperationCanceledException>());
        string[] made = Directory.GetFiles(trials, "*.trials.json");
        Assert.That(made, Has.Length.EqualTo(7));
        Dictionary<string, DateTime> times = made.ToDictionary(file => file, File.GetLastWriteTimeUtc);

        // Stopped again once all are there, and then to the end.
        using var again = new CancellationTokenSource();
        int losses = 0;
        var second = new Observer(step =>
        {
            if (step.Finished && ++losses == 3)
            {
                again.Cancel();
            }
        });
        Assert.That(() => Prune("out", second, again.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFiles(trials, "*.trials.json"), Has.Length.EqualTo(LinearCount));
        Assert.That(times.Keys.Select(File.GetLastWriteTimeUtc), Is.EqualTo(times.Values));
        Assert.That(Directory.Exists(Path.Combine(trials, "streams")), Is.False);
        var third = new Observer(_ => { });
        Prune("out", third, default);
        Assert.That(third.Names, Has.None.StartsWith("block sizes"));
        AssertSameFolders("out");

        void Prune(string name, IProgress<ModelPruningProgress> progress, CancellationToken cancellationToken) =>
            ModelPruner.PruneTokensAsync(model, folder.File(name), TinyLlama.Sequences(8), options, progress, cancellationToken).GetAwaiter().GetResult();
    }

    [Test]
    public void ADamagedFileOfTrialsIsNamed()
    {
        var files = new TrialFiles(folder.File("trials"));
        BlockTrial[] trials = [new(new BlockSizes(8, null), 0.25), new(new BlockSizes(null, 4), double.NaN)];
        files.Write("linear", trials);
        Assert.That(files.Has("linear"), Is.True);
        Assert.That(files.Has("other"), Is.False);
        Assert.That(files.Read("linear"), Is.EqualTo(trials));
        string path = Directory.GetFiles(folder.File("trials")).Single();
        foreach (string content in new[] { "[]", "null", "[{", "[1]" })
        {
            File.WriteAllText(path, content);
            Assert.That(() => files.Read("linear"), Throws.InstanceOf<CheckpointException>().With.Message.Contains(path), content);
        }
    }

    [Test]
    public void ASmallBudgetOfMemoryGivesTheSameBytes()
    {
        Run("whole", Resume);
        ModelPrunerOptions tight = Resume with { MemoryBudget = Smallest() };
        Run("tight", tight);
        AssertSameFolders("tight");
        // Stopped in the second layer, whose streams come from disk.
        Assert.That(() => Run("stopped", tight, stopAfter: 11), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFiles(Path.Combine(folder.File("stopped.partial"), "activations")), Is.Not.Empty);
        Run("stopped", tight);
        AssertSameFolders("stopped");
    }

    [Test]
    public void ABudgetTooSmallIsRefusedWithTheSmallestThatWorks()
    {
        long smallest = Smallest();
        Assert.That(
            () => Run("out", Resume with { MemoryBudget = smallest - 1 }),
            Throws.ArgumentException.With.Message.Contains(smallest.ToString(System.Globalization.CultureInfo.InvariantCulture)).And.Message.Contains("MemoryBudget"));
        Assert.That(Directory.Exists(folder.File("out.partial")), Is.False);
    }

    [Test]
    public void CancelledAtAnyMomentAndResumedGivesTheSameBytes()
    {
        Run("whole", Resume);
        var random = new Random(5);
        for (int attempt = 0; attempt < 4; attempt++)
        {
            // By time, so in the midst of forward passes, of writes and of pruning alike.
            string name = "random" + attempt;
            for (int kill = 0; kill < 3; kill++)
            {
                using var source = new CancellationTokenSource(TimeSpan.FromMilliseconds(random.Next(5, 120)));
                try
                {
                    new ModelPruningRun(model, folder.File(name), new MagnitudeLinearPruner(), Resume, null, source.Token).Execute(() => TinyLlama.Sequences(8));
                    break;
                }
                catch (OperationCanceledException)
                {
                    Assert.That(Directory.Exists(folder.File(name)), Is.False, "no output before its time");
                }
            }

            if (!Directory.Exists(folder.File(name)))
            {
                Run(name, Resume);
            }

            AssertSameFolders(name);
        }
    }

    [Test]
    public void ManyInterruptionsInARowGiveTheSameBytes()
    {
        Run("whole", Resume);
        for (int attempt = 0; attempt < 5; attempt++)
        {
            Assert.That(() => Run("many", Resume, stopAfter: 2), Throws.InstanceOf<OperationCanceledException>());
        }

        Run("many", Resume);
        AssertSameFolders("many");
    }

    [Test]
    public void ALostPartIsPrunedAgain()
    {
        Run("whole", Resume);
        Assert.That(() => Run("lost", Resume, stopAfter: 9), Throws.InstanceOf<OperationCanceledException>());
        File.Delete(Path.Combine(folder.File("lost.partial"), "model.layers.0.self_attn.k_proj.safetensors"));
        Run("lost", Resume);
        AssertSameFolders("lost");
    }

    [Test]
    public void FinishedLinearsAreNotPrunedAgain()
    {
        Assert.That(() => Run("out", Resume, stopAfter: 5), Throws.InstanceOf<OperationCanceledException>());
        var pruner = new Counting(int.MaxValue);
        var progress = new List<ModelPruningProgress>();
        Run("out", Resume, pruner, progress);
        Assert.That(pruner.Count, Is.EqualTo(LinearCount - 5));
        Assert.That(progress.Count(record => record is { Finished: true, Resumed: true }), Is.EqualTo(5));
        Assert.That(progress[^1].Index, Is.EqualTo(LinearCount));
    }

    [Test]
    public void AnInterruptedRunInTheWayIsRefusedWithoutResume()
    {
        Assert.That(() => Run("out", Resume, stopAfter: 1), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(
            () => Run("out", Resume with { Resume = false }),
            Throws.TypeOf<IOException>().With.Message.Contains("--resume").And.Message.Contains("delete"));
    }

    [Test]
    public void ARunOfOtherInputsIsNotResumed()
    {
        Assert.That(() => Run("out", Resume, stopAfter: 1), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(
            () => Run("out", Resume with { TokensPerBatch = 32 }),
            Throws.TypeOf<IOException>().With.Message.Contains("option TokensPerBatch: was 23, is 32"));
        Assert.That(
            () => Run("out", Resume with { CoreStorage = TensorElementType.Int8 }),
            Throws.TypeOf<IOException>().With.Message.Contains("option CoreStorage: was as the rest, is Int8"));
        Assert.That(
            () => Run("out", Resume with { MaxSamples = 3 }),
            Throws.TypeOf<IOException>().With.Message.Contains("calibration: was 8 sequences"));
        TinyLlama.Write(model, seed: 2);
        Assert.That(() => Run("out", Resume), Throws.TypeOf<IOException>().With.Message.Contains("file model.safetensors: was"));
        TinyLlama.Write(model);
        Assert.That(() => Run("out", Resume), Throws.Nothing);
    }

    [Test]
    public void AFailureKeepsWhatIsFinishedAndShowsNoOutput()
    {
        Assert.That(() => Run("out", Resume, new Failing(4)), Throws.InvalidOperationException);
        Assert.That(Directory.Exists(folder.File("out")), Is.False);
        Run("whole", Resume);
        Run("out", Resume);
        AssertSameFolders("out");
    }

    [Test]
    public void NoTensorIsLeftBehind()
    {
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        Run("out", Resume);
        Assert.That(() => Run("stopped", Resume, stopAfter: 8), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(DisposeScopeManager.Statistics.ThreadTotalLiveCount, Is.EqualTo(before));
    }

    private ModelPruningReport Run(string name, ModelPrunerOptions options, int stopAfter) => Run(name, options, new Counting(stopAfter));

    private ModelPruningReport Run(
        string name, ModelPrunerOptions options, MagnitudeLinearPruner? pruner = null, List<ModelPruningProgress>? progress = null)
    {
        pruner ??= new MagnitudeLinearPruner();
        using var cancellation = new CancellationTokenSource();
        if (pruner is Counting counting)
        {
            counting.Stop = cancellation.Cancel;
        }

        return new ModelPruningRun(model, folder.File(name), pruner, options, new Recorder(progress ?? []), cancellation.Token)
            .Execute(() => TinyLlama.Sequences(8));
    }

    private long Smallest() => Smallest(new MagnitudeLinearPruner().Moments, Resume);

    private long Smallest(ActivationMoments moments, ModelPrunerOptions options)
    {
        var plan = MemoryPlan.For(
            Armor.Runtime.Models.ModelConfiguration.Load(model),
            options,
            moments,
            Armor.Core.Calibration.CalibrationSequences.Select(TinyLlama.Sequences(8), 8, Armor.Runtime.Models.ModelConfiguration.Load(model)));
        return plan.Needed;
    }

    private void AssertSameFolders(string name)
    {
        string[] expected = [.. Directory.GetFiles(folder.File("whole")).Select(path => Path.GetFileName(path)).Order()];
        Assert.That(Directory.GetFileSystemEntries(folder.File(name)).Select(path => Path.GetFileName(path)).Order(), Is.EqualTo(expected));
        foreach (string file in expected)
        {
            byte[] bytes = File.ReadAllBytes(Path.Combine(folder.File(name), file));
            Assert.That(bytes.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folder.File("whole"), file))), Is.True, file);
        }

        Assert.That(Directory.Exists(folder.File(name) + ".partial"), Is.False);
    }

    private sealed class Recorder(List<ModelPruningProgress> records) : IProgress<ModelPruningProgress>
    {
        public void Report(ModelPruningProgress value) => records.Add(value);
    }

    /// <summary>Cancels while the linear after the given number of them is pruned.</summary>
    private sealed class Counting(int stopAfter) : MagnitudeLinearPruner
    {
        public int Count { get; private set; }

        public Action? Stop { get; set; }

        protected override void Seen(string name, ActivationStatistics statistics)
        {
            if (Count++ == stopAfter)
            {
                Stop!();
                throw new OperationCanceledException();
            }
        }
    }

    private sealed class Failing(int at) : MagnitudeLinearPruner
    {
        private int count;

        protected override void Seen(string name, ActivationStatistics statistics)
        {
            if (count++ == at)
            {
                throw new InvalidOperationException("broken on purpose");
            }
        }
    }

    private sealed class Observer(Action<ModelPruningProgress> see) : IProgress<ModelPruningProgress>
    {
        public List<string> Names { get; } = [];

        public void Report(ModelPruningProgress value)
        {
            Names.Add(value.Linear);
            see(value);
        }
    }
}
