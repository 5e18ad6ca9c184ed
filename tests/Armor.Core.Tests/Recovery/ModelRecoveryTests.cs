using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Recovery;

public class ModelRecoveryTests
{
    private static readonly RecoveryOptions Quick = new()
    {
        LayerwiseSteps = 12,
        Steps = 12,
        EvaluationSteps = 4,
        SaveSteps = 1,
        WarmUpSteps = 2,
        SequencesPerStep = 4,
        HeldOutSequences = 8,
        TokensPerBatch = 60,
        LayerwiseLearningRate = 0.01,
        LearningRate = 0.003,
    };

    private TemporaryFolder folder = null!;
    private string dense = null!;
    private string pruned = null!;
    private string output = null!;

    [OneTimeSetUp]
    public async Task PruneModel()
    {
        folder = new TemporaryFolder();
        dense = TinyLlama.Write(folder.File("dense"));
        pruned = folder.File("pruned");
        await ModelPruner.PruneTokensAsync(dense, pruned, TinyLlama.Sequences(8), new ModelPrunerOptions
        {
            Pruner = ArmorPrunerOptions.Fast with { BlockSize = 8, Stages = [new PruningStage { Loss = StageLoss.Diagonal, AnnealingCycles = 3, PolishCycles = 2 }] },
            TokensPerBatch = 64,
        });
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [SetUp]
    public void NameOutput() => output = folder.File(TestContext.CurrentContext.Test.ID);

    [Test]
    public async Task TheHeldOutKlFallsInBothPhasesAndOnlyValuesChange()
    {
        var progress = new List<RecoveryProgress>();
        RecoveryReport report = await Recover(Quick, new Recorder(progress));

        Assert.That(report.Phases.Select(phase => phase.Phase), Is.EqualTo(new[] { RecoveryPhase.Layerwise, RecoveryPhase.EndToEnd }));
        foreach (RecoveryPhaseReport phase in report.Phases)
        {
            Assert.That(phase.KlAfter, Is.LessThan(phase.KlBefore), phase.ToString());
            Assert.That(phase.Stop, Is.EqualTo(RecoveryStop.Finished));
        }

        Assert.That(report.Phases[1].KlBefore, Is.EqualTo(report.Phases[0].KlAfter).Within(1e-6), "the second begins where the first ended");
        Assert.That(report.KlBefore, Is.EqualTo(HeldOutKl(pruned)).Within(1e-5), "as measured on the folders");
        Assert.That(report.KlAfter, Is.EqualTo(HeldOutKl(output)).Within(1e-5), "what is reported is what is stored");
        Assert.That((report.TrainingSequences, report.HeldOutSequences), Is.EqualTo((24, 8)));
        Assert.That(progress.Count(record => record.Phase == RecoveryPhase.Layerwise), Is.EqualTo(12 * TinyLlama.LayerCount));
        Assert.That(progress[^1].Step, Is.EqualTo(12));

        using ArmorCheckpoint before = ArmorCheckpoint.Open(pruned);
        using ArmorCheckpoint after = ArmorCheckpoint.Open(output);
        after.VerifyChecksums();
        Assert.That(after.Base.TensorsInFileOrder, Is.EqualTo(before.Base.TensorsInFileOrder));
        foreach (string tensor in before.Base.Tensors.Keys)
        {
            bool same = after.Base.GetBytes(tensor).SequenceEqual(before.Base.GetBytes(tensor));
            Assert.That(same, Is.EqualTo(!tensor.Contains(".armor.", StringComparison.Ordinal) || tensor.EndsWith("core_mask", StringComparison.Ordinal)), tensor);
        }

        Assert.That(File.ReadAllText(Path.Combine(output, "config.json")), Is.EqualTo(File.ReadAllText(Path.Combine(pruned, "config.json"))));
        Assert.That(Directory.Exists(output + ".partial"), Is.False);
    }

    [Test]
    public async Task NeverWorseThanTheStart()
    {
        RecoveryReport report = await Recover(Quick with { LayerwiseLearningRate = 3, LearningRate = 3 });
        Assert.That(report.Phases[0].KlAfter, Is.LessThanOrEqualTo(report.KlBefore));
        Assert.That(report.KlAfter, Is.LessThanOrEqualTo(report.Phases[0].KlAfter));
        Assert.That(HeldOutKl(output), Is.LessThanOrEqualTo(HeldOutKl(pruned) + 1e-6));
    }

    [Test]
    public void ARunStoppedAnywhereGivesTheSameBytes()
    {
        Execute("whole", Quick);
        foreach (int stop in new[] { 3, 15, 26, 33 })
        {
            string name = "stopped" + stop;
            Assert.That(() => Execute(name, Quick, stop), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(Directory.Exists(folder.File(name)), Is.False, "no output before its time");
            if (stop > Quick.LayerwiseSteps)
            {
                Assert.That(() => Execute(name, Quick), Throws.TypeOf<IOException>().With.Message.Contains("--resume"));
                Assert.That(() => Execute(name, Quick with { Resume = true, Seed = 9 }), Throws.TypeOf<IOException>().With.Message.Contains("Seed"));
            }

            Execute(name, Quick with { Resume = true });
            foreach (string file in Directory.GetFiles(folder.File("whole")))
            {
                byte[] bytes = File.ReadAllBytes(Path.Combine(folder.File(name), Path.GetFileName(file)));
                Assert.That(bytes.AsSpan().SequenceEqual(File.ReadAllBytes(file)), Is.True, $"{stop}: {file}");
            }
        }
    }

    [Test]
    public void NoTensorIsLeftBehind()
    {
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        var perStep = new List<long>();
        Execute("leak", Quick, seen: _ => perStep.Add(DisposeScopeManager.Statistics.ThreadTotalLiveCount));
        Assert.That(DisposeScopeManager.Statistics.ThreadTotalLiveCount, Is.EqualTo(before));
        Assert.That(perStep[^1], Is.EqualTo(perStep[^8]), "steps end to end");
        Assert.That(perStep[4], Is.EqualTo(perStep[1]), "steps of a layer");
        Assert.That(() => Execute("leakstop", Quick, stopAfter: 30), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(DisposeScopeManager.Statistics.ThreadTotalLiveCount, Is.EqualTo(before));
    }

    [Test]
    public void LittleMemoryForActivationsChangesNothingButRounding()
    {
        RecoveryReport roomy = Execute("roomy", Quick);
        RecoveryReport tight = Execute("tight", Quick with { ActivationBytes = 0 });
        Assert.That(tight.KlAfter, Is.EqualTo(roomy.KlAfter).Within(0.02 * roomy.KlAfter));
        Assert.That(Directory.Exists(folder.File("tight.partial")), Is.False);
    }

    [Test]
    public void GradientsThroughRecomputedLayersAreTheSame()
    {
        using var scope = NewDisposeScope();
        using CausalLanguageModel model = CausalLanguageModel.Load(dense);
        model.RequireGradients(true);
        Tensor tokens = tensor(TinyLlama.Sequences(9).First(sequence => sequence.Length > 12)[..12].Select(token => (long)token).ToArray(), [2, 6]);
        Tensor gradient = ones(2, 6, 32);
        foreach (bool recompute in new[] { false, true })
        {
            var stack = new LayerStack(model, tokens, recompute, CancellationToken.None);
            stack.Backward(gradient, CancellationToken.None);
        }

        // Both passes added to the same gradients: twice the first one.
        Tensor both = model.Layers[0].GetLinearWeight("mlp.up_proj").grad!.clone();
        foreach (var weight in model.Weights.Values)
        {
            weight.grad?.zero_();
        }

        new LayerStack(model, tokens, recompute: true, CancellationToken.None).Backward(gradient, CancellationToken.None);
        Tensor once = model.Layers[0].GetLinearWeight("mlp.up_proj").grad!;
        Assert.That((both - once.mul(2)).abs().max().item<float>(), Is.LessThan(1e-5f * once.abs().max().item<float>()));
    }

    [Test]
    public async Task QuantisedCoresAreRoundedAgainAndJudgedThatWay()
    {
        string quantised = folder.File("quantised");
        await ModelPruner.PruneTokensAsync(dense, quantised, TinyLlama.Sequences(8), new ModelPrunerOptions
        {
            Pruner = ArmorPrunerOptions.Fast with { BlockSize = 8, Stages = [new PruningStage { Loss = StageLoss.Diagonal, PolishCycles = 2 }] },
            TokensPerBatch = 64,
            CoreStorage = TensorElementType.Int8,
        });
        RecoveryReport report = await ModelRecovery.RecoverTokensAsync(quantised, dense, output, TinyLlama.Sequences(32), Quick);
        Assert.That(report.KlAfter, Is.LessThan(report.KlBefore));
        Assert.That(report.KlAfter, Is.EqualTo(HeldOutKl(output)).Within(1e-5), "what is reported is what is stored");
        using ArmorCheckpoint recovered = ArmorCheckpoint.Open(output);
        Assert.That(recovered.CoreType, Is.EqualTo(TensorElementType.Int8));
        recovered.VerifyChecksums();
    }

    [Test]
    public async Task APlainTwoFourModelStaysOne()
    {
        string plain = folder.File("plain");
        await ModelPruner.PruneTokensAsync(dense, plain, TinyLlama.Sequences(8), new ModelPrunerOptions
        {
            Pruner = ArmorPrunerOptions.Fast with { Method = PruningMethod.NoWagP },
            TokensPerBatch = 64,
        });
        RecoveryReport report = await ModelRecovery.RecoverTokensAsync(plain, dense, output, TinyLlama.Sequences(32), Quick);
        Assert.That(report.KlAfter, Is.LessThan(report.KlBefore));
        using ArmorCheckpoint recovered = ArmorCheckpoint.Open(output);
        Sparse24Export.Write(recovered, folder.File("sparse24"));
        Assert.That(File.Exists(Path.Combine(folder.File("sparse24"), "config.json")), Is.True);
    }

    [Test]
    public void BadInputIsNamed()
    {
        string other = TinyLlama.Write(folder.File("other"));
        string configuration = Path.Combine(other, "config.json");
        File.WriteAllText(configuration, File.ReadAllText(configuration).Replace("10000", "20000", StringComparison.Ordinal));
        Assert.That(() => Recover(Quick, against: other), Throws.TypeOf<CheckpointException>().With.Message.Contains("rotary base").And.Message.Contains("20000"));
        Assert.That(() => Recover(Quick, against: pruned), Throws.TypeOf<CheckpointException>().With.Message.Contains("ARMOR"));
        Assert.That(
            () => ModelRecovery.RecoverTokensAsync(dense, dense, output, TinyLlama.Sequences(8), Quick),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("not an ARMOR checkpoint"));
        Assert.That(
            () => ModelRecovery.RecoverTokensAsync(pruned, dense, output, [[1, 5, 6]], Quick),
            Throws.TypeOf<CalibrationException>().With.Message.Contains("at least two sequences"));
        Assert.That(
            () => Recover(new RecoveryOptions { Steps = 0, LayerwiseSteps = 0, LearningRate = double.NaN, Patience = 0 }),
            Throws.ArgumentException.With.Message.Contains("nothing to do").And.Message.Contains("LearningRate").And.Message.Contains("Patience"));
        Assert.That(Directory.Exists(output + ".partial"), Is.False);
    }

    private Task<RecoveryReport> Recover(RecoveryOptions options, IProgress<RecoveryProgress>? progress = null, string? against = null) =>
        ModelRecovery.RecoverTokensAsync(pruned, against ?? dense, output, TinyLlama.Sequences(32), options, progress);

    private RecoveryReport Execute(string name, RecoveryOptions options, int stopAfter = int.MaxValue, Action<RecoveryProgress>? seen = null)
    {
        using var cancellation = new CancellationTokenSource();
        int steps = 0;
        var progress = new Caller(record =>
        {
            seen?.Invoke(record);
            if (++steps == stopAfter)
            {
                cancellation.Cancel();
            }
        });
        return new RecoveryRun(pruned, dense, folder.File(name), options, progress, cancellation.Token).Execute(() => TinyLlama.Sequences(32));
    }

    /// <summary>The mean KL(dense‖other) over every token of the held-out sequences, from two loaded models.</summary>
    private double HeldOutKl(string other)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using CausalLanguageModel expected = CausalLanguageModel.Load(dense);
        using CausalLanguageModel found = CausalLanguageModel.Load(other);
        double sum = 0;
        long count = 0;
        foreach (int[] sequence in TinyLlama.Sequences(32)[^8..])
        {
            int[] cut = sequence[..Math.Min(sequence.Length, TinyLlama.ContextLength - 1)];
            Tensor tokens = tensor(cut.Select(token => (long)token).ToArray(), [1, cut.Length]);
            Tensor p = expected.Forward(tokens).to(float64).log_softmax(-1);
            Tensor q = found.Forward(tokens).to(float64).log_softmax(-1);
            sum += (p.exp() * (p - q)).sum().item<double>();
            count += cut.Length;
        }

        return sum / count;
    }

    private sealed class Recorder(List<RecoveryProgress> records) : IProgress<RecoveryProgress>
    {
        public void Report(RecoveryProgress value) => records.Add(value);
    }

    private sealed class Caller(Action<RecoveryProgress> action) : IProgress<RecoveryProgress>
    {
        public void Report(RecoveryProgress value) => action(value);
    }
}
