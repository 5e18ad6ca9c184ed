using Armor.Core.Evaluation;
using Armor.Runtime.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>The numbers of a training.</summary>
/// <param name="Steps">At most.</param>
/// <param name="Rate">The highest learning rate.</param>
/// <param name="Options">All else.</param>
internal sealed record TrainingPlan(int Steps, double Rate, RecoveryOptions Options);

/// <summary>How a training ended; the factors are those of the best measurement.</summary>
internal sealed record TrainingOutcome(double Before, double After, int Steps, RecoveryStop Stop, IReadOnlyList<string> Notes);

/// <summary>
/// Trains factors: steps of AdamW, a measurement now and then, the best state kept. A loss that is not finite leads back to the best state and half the
/// rate. What is measured is the factors as they will be stored, the start included, so the outcome is never above it.
/// </summary>
/// <param name="factors">What is trained.</param>
/// <param name="storage">The types that they and their kept values will be stored in.</param>
/// <param name="plan">How.</param>
/// <param name="accumulate">Adds a step's gradients and returns its loss.</param>
/// <param name="measure">The held-out loss of the factors as they are.</param>
/// <param name="cancellationToken">Stops between steps.</param>
internal sealed class FactorTrainer(
    TrainableFactors factors,
    (TensorElementType Wrappers, TensorElementType Core) storage,
    TrainingPlan plan,
    Func<int, double> accumulate,
    Func<double> measure,
    CancellationToken cancellationToken) : IDisposable
{
    private const int MostRestarts = 4;

    private readonly AdamW optimizer = new(factors, plan.Options.WrapperRate);
    private readonly Tensor best = factors.Values.clone().DetachFromDisposeScope();
    private TrainingPosition position = new();

    /// <summary>Told after every step: steps made, and the latest measurement.</summary>
    public Action<int, double>? Progress { get; init; }

    /// <summary>Where the state is kept while training is under way, and taken up; null for nowhere.</summary>
    public string? StateFile { get; init; }

    /// <summary>Trains to the end.</summary>
    public TrainingOutcome Run()
    {
        RecoveryOptions options = plan.Options;
        if (StateFile is not null && File.Exists(StateFile))
        {
            position = TrainingFile.Read(StateFile, factors.Values, optimizer, best);
        }
        else
        {
            position.Start = position.Best = position.Latest = factors.AsStored(storage.Wrappers, storage.Core, measure);
            if (!double.IsFinite(position.Start))
            {
                throw new EvaluationException($"The held-out loss of the pruned model is not finite before the first step: {position.Start}.");
            }
        }

        while (position.Step < plan.Steps && position.SinceLowest < options.Patience && position.Restarts < MostRestarts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Step();
            if (position.Step % options.EvaluationSteps == 0 || position.Step == plan.Steps)
            {
                Measure();
            }

            Progress?.Invoke(position.Step, position.Latest);
            if (StateFile is not null && (position.Step % options.SaveSteps == 0 || position.Step == plan.Steps))
            {
                TrainingFile.Write(StateFile, factors.Values, optimizer, best, position);
            }
        }

        Restore();
        RecoveryStop stop = position.Restarts >= MostRestarts ? RecoveryStop.Diverged
            : position.Step < plan.Steps ? RecoveryStop.EarlyStop
            : RecoveryStop.Finished;
        return new TrainingOutcome(position.Start, position.Best, position.Step, stop, position.Notes);
    }

    /// <summary>Frees the optimiser and the best state; the factors stay.</summary>
    public void Dispose()
    {
        optimizer.Dispose();
        best.Dispose();
    }

    private void Step()
    {
        double rate = position.RateFactor * RateSchedule.At(position.Step, plan.Steps, plan.Options.WarmUpSteps, plan.Rate);
        double loss = accumulate(position.Step);
        position.Step++;
        double gradient = optimizer.Step(rate, plan.Options.MaximumGradient);
        if (!double.IsFinite(loss) || !double.IsFinite(gradient))
        {
            StepBack();
        }
    }

    private void StepBack()
    {
        Restore();
        optimizer.Restart();
        position.RateFactor /= 2;
        position.Restarts++;
        position.Notes.Add(FormattableString.Invariant(
            $"Step {position.Step}: the loss is not finite; back to the best state with {position.RateFactor} of the rate."));
    }

    private void Measure()
    {
        position.Latest = factors.AsStored(storage.Wrappers, storage.Core, measure);

        // While the rate is high the loss may stand above the start for long: patience looks at the training's own lowest.
        bool falls = position.Latest < position.Lowest;
        position.SinceLowest = falls ? 0 : position.SinceLowest + 1;
        position.Lowest = falls ? position.Latest : position.Lowest;
        if (position.Latest < position.Best)
        {
            using var withoutGradients = no_grad();
            position.Best = position.Latest;
            best.copy_(factors.Values);
        }
    }

    private void Restore()
    {
        using var withoutGradients = no_grad();
        factors.Values.copy_(best);
    }
}
