using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Modules;
using Armor.Core.Pruning.Resuming;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Core.Recovery;

/// <summary>One run: checks everything, trains layer by layer and then end to end, and writes the output.</summary>
internal sealed class RecoveryRun(
    string pruned,
    string dense,
    string output,
    RecoveryOptions options,
    IProgress<RecoveryProgress>? progress,
    CancellationToken cancellationToken)
{
    private const string TrainingPart = "training";
    private const string ReportPart = "report";

    private readonly Stopwatch clock = Stopwatch.StartNew();
    private readonly List<RecoveryPhaseReport> phases = [];
    private readonly List<string> notes = [];

    /// <summary>Does all the work.</summary>
    /// <param name="tokenise">Gives the sequences; called once the folders are known to be sound.</param>
    public RecoveryReport Execute(Func<IEnumerable<int[]>> tokenise)
    {
        PruningWorkspace.RequireFree(output, options.Resume);
        using ArmorCheckpoint source = ArmorCheckpoint.Open(pruned);
        CheckpointVerification.Verify(source);
        using CheckpointFolder target = OpenDense();
        ModelPair.RequireSame(source, target);
        using RecoveryData data = RecoveryData.Create(tokenise(), options, target.Configuration);
        using PruningWorkspace workspace = PruningWorkspace.Open(output, options.Resume, Fingerprint(data));
        if (workspace.Published is not null)
        {
            RecoveryReport earlier = TrainingFile.ReadReport(workspace.PathOf(ReportPart));
            workspace.Delete();
            return earlier;
        }

        IReadOnlyList<KeyValuePair<string, ArmorLayer>> layers = [.. source.PrunedLinears.Select(name => KeyValuePair.Create(name, source.ReadLayer(name)))];
        if (options.LayerwiseSteps > 0)
        {
            layers = RecoverLayers(source, target, layers, data, workspace);
        }

        if (options.Steps > 0)
        {
            layers = RecoverWhole(source, layers, data, workspace);
        }

        workspace.DeleteActivations();
        var byName = layers.ToDictionary(StringComparer.Ordinal);
        ArmorCheckpointUpdate.Write(source, workspace.AssemblyFolder, name => byName[name], cancellationToken);
        var report = new RecoveryReport
        {
            Phases = phases,
            TrainingSequences = data.Training.Count,
            HeldOutSequences = data.HeldOutSequences,
            Parameters = layers.Sum(layer => ParameterCount(layer.Value)),
            Notes = notes,
            Seconds = clock.Elapsed.TotalSeconds,
        };
        TrainingFile.WriteReport(workspace.PathOf(ReportPart), report);
        workspace.Publish([]);
        workspace.Delete();
        return report;
    }

    private static long ParameterCount(ArmorLayer layer) =>
        ((long)layer.Rows * layer.Core.RowValueCount) + (layer.OutputWrapper?.Values.Length ?? 0) + (layer.InputWrapper?.Values.Length ?? 0);

    private CheckpointFolder OpenDense()
    {
        if (ArmorCheckpoint.IsArmor(dense))
        {
            throw new CheckpointException(dense, "the dense model is pruned", null, "the dense model that the other one was pruned from", "an ARMOR checkpoint");
        }

        CheckpointFolder folder = CheckpointFolder.Open(dense);
        try
        {
            CheckpointVerification.Verify(folder);
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    private SortedDictionary<string, string> Fingerprint(RecoveryData data)
    {
        SortedDictionary<string, string> fingerprint = RunFingerprint.Compute(dense, data.All, options.Fingerprint, cancellationToken);
        foreach ((string name, string value) in RunFingerprint.Compute(pruned, [], [], cancellationToken).Where(entry => entry.Key.StartsWith("file ", StringComparison.Ordinal)))
        {
            fingerprint.Add("pruned " + name, value);
        }

        return fingerprint;
    }

    private IReadOnlyList<KeyValuePair<string, ArmorLayer>> RecoverLayers(
        ArmorCheckpoint source,
        CheckpointFolder target,
        IReadOnlyList<KeyValuePair<string, ArmorLayer>> layers,
        RecoveryData data,
        PruningWorkspace workspace)
    {
        var stopwatch = Stopwatch.StartNew();
        int steps = options.LayerwiseSteps * target.Configuration.LayerCount;
        var files = new LayerwiseFiles(
            layer => workspace.PathOf(FormattableString.Invariant($"layer-{layer}")),
            (name, layer) => Path.Combine(workspace.ActivationFolder, FormattableString.Invariant($"{name}-{layer}")));
        var recovery = new LayerwiseRecovery(source, target, data, options, files, cancellationToken)
        {
            Progress = (layer, step, error) =>
                progress?.Report(new RecoveryProgress(RecoveryPhase.Layerwise, step, steps, layer, error, stopwatch.Elapsed)),
        };
        LayerwiseRecovery.Outcome outcome = recovery.Run();
        notes.AddRange(outcome.Notes);

        // A smaller error of every layer makes no promise for the whole.
        bool better = outcome.KlAfter < outcome.KlBefore;
        phases.Add(new RecoveryPhaseReport(
            RecoveryPhase.Layerwise,
            outcome.KlBefore,
            better ? outcome.KlAfter : outcome.KlBefore,
            outcome.Steps,
            better ? RecoveryStop.Finished : RecoveryStop.Rejected,
            stopwatch.Elapsed.TotalSeconds));
        return better ? outcome.Layers : layers;
    }

    private IReadOnlyList<KeyValuePair<string, ArmorLayer>> RecoverWhole(
        ArmorCheckpoint source, IReadOnlyList<KeyValuePair<string, ArmorLayer>> layers, RecoveryData data, PruningWorkspace workspace)
    {
        var stopwatch = Stopwatch.StartNew();
        var factorised = source.PrunedLinears.Select(name => name + ".weight").ToHashSet(StringComparer.Ordinal);
        using CausalLanguageModel teacher = CausalLanguageModel.Load(dense);
        using CausalLanguageModel student = CausalLanguageModel.LoadPart(source.Base, factorised.Contains);
        using var recovery = new EndToEndRecovery(teacher, student, layers, data, options, cancellationToken);
        var plan = new TrainingPlan(options.Steps, options.LearningRate, options);
        using var trainer = new FactorTrainer(
            recovery.Factors, (source.ElementType, source.CoreType), plan, recovery.Accumulate, recovery.Measure, cancellationToken)
        {
            StateFile = workspace.PathOf(TrainingPart),
            Progress = (step, kl) =>
                progress?.Report(new RecoveryProgress(RecoveryPhase.EndToEnd, step, options.Steps, null, kl, stopwatch.Elapsed)),
        };
        TrainingOutcome outcome = trainer.Run();
        notes.AddRange(outcome.Notes);
        phases.Add(new RecoveryPhaseReport(RecoveryPhase.EndToEnd, outcome.Before, outcome.After, outcome.Steps, outcome.Stop, stopwatch.Elapsed.TotalSeconds));
        return recovery.Factors.ToLayers();
    }
}
