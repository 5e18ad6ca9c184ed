using Armor.Cli.Hosting;
using Armor.Cli.Natives;
using Armor.Core.Evaluation;
using Armor.Core.Pruning;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary>Shows an evaluation's progress.</summary>
internal sealed class EvaluationSteps(IProgress<Step> steps) : IProgress<EvaluationProgress>
{
    public void Report(EvaluationProgress value)
    {
        double fraction = (double)value.Predictions / value.TotalPredictions;
        steps.Report(Step.Timed(fraction, Numbers.Invariant($"perplexity {Math.Exp(value.Nll):0.000}"), value.Elapsed));
    }
}

/// <summary>Shows a pruning run's progress: the layer, its loss and the time left.</summary>
/// <param name="steps">Where to.</param>
/// <param name="givesBack">Whether unused memory goes back to the system after every linear.</param>
internal sealed class PruningSteps(IProgress<Step> steps, bool givesBack = false) : IProgress<ModelPruningProgress>
{
    public void Report(ModelPruningProgress value)
    {
        if (givesBack && value.Finished)
        {
            NativeHeap.GiveBack();
        }

        string loss = value.Loss is { } known ? Numbers.Invariant($" loss {known:0.00000}") : string.Empty;
        steps.Report(new Step((double)value.Index / value.Count, Numbers.Invariant($"{value.Index}/{value.Count} {value.Linear}{loss}"), value.Remaining));
    }
}

/// <summary>Shows a recovery's progress: the phase, its held-out loss and the time left.</summary>
internal sealed class RecoverySteps(IProgress<Step> steps) : IProgress<RecoveryProgress>
{
    public void Report(RecoveryProgress value)
    {
        string what = value.Layer is { } layer ? Numbers.Invariant($"layer {layer}, error {value.HeldOut:0.00000}") : Numbers.Invariant($"KL {value.HeldOut:0.0000}");
        string detail = Numbers.Invariant($"{RecoveryOutput.Name(value.Phase)} {value.Step}/{value.Steps} {what}");
        steps.Report(Step.Timed((double)value.Step / value.Steps, detail, value.Elapsed));
    }
}

/// <summary>Shows an export's progress.</summary>
internal sealed class ExportSteps(IProgress<Step> steps) : IProgress<ExportProgress>
{
    public void Report(ExportProgress value) =>
        steps.Report(new Step((double)value.Done / value.Total, Numbers.Invariant($"{value.Done}/{value.Total} {value.Linear}"), null));
}
