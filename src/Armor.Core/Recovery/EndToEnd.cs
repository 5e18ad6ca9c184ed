using Armor.Core.Calibration;
using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>Whole.</summary>
internal sealed class EndToEnd(
    CausalLanguageModel dense,
    CausalLanguageModel pruned,
    TrainableFactors factors,
    TensorElementType storage,
    IReadOnlyList<int[]> training,
    IReadOnlyList<CalibrationBatch> heldOut,
    RecoveryOptions options,
    Action<string> log,
    CancellationToken cancellationToken)
{
    public bool Recompute;
    public double HeldOutKl()
    {
        return factors.AsStored(storage, () =>
        {
            double sum = 0;
            long count = 0;
            foreach (CalibrationBatch batch in heldOut)
            {
                using var scope = NewDisposeScope();
                sum += DistillationLoss.Sum((dense, dense.RunLayers(batch.Tokens, cancellationToken)), (pruned, pruned.RunLayers(batch.Tokens, cancellationToken)), batch);
                count += batch.TokenCount;
            }

            return sum / count;
        });
    }

    public double Run()
    {
        using var adam = new AdamW(factors, options.WrapperRate);
        double best = HeldOutKl();
        using Tensor bestValues = factors.Values.clone().DetachFromDisposeScope();
        log($"start {best:F5}");
        var order = new TrainingOrder(training.Count, options.SequencesPerStep, options.Seed);
        double mean = 0; int n = 0;
        for (int step = 0; step < options.Steps; step++)
        {
            double rate = RateSchedule.At(step, options.Steps, options.WarmUpSteps, options.LearningRate);
            mean += Accumulate([.. order.At(step).Select(i => training[i])]); n++;
            double g = adam.Step(rate, options.MaximumGradient);
            if ((step + 1) % options.EvaluationSteps == 0 || step + 1 == options.Steps)
            {
                double kl = HeldOutKl();
                log($"{step + 1} train {mean / n:F5} held {kl:F5} grad {g:F3}");
                mean = 0; n = 0;
                if (kl < best)
                {
                    best = kl;
                    bestValues.copy_(factors.Values);
                }
            }
        }

        factors.Values.copy_(bestValues);
        return best;
    }

    private double Accumulate(IReadOnlyList<int[]> sequences)
    {
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, options.TokensPerBatch, CPU);
        long tokens = batches.Sum(batch => batch.TokenCount);
        double sum = 0;
        foreach (CalibrationBatch batch in batches)
        {
            using var scope = NewDisposeScope();
            Tensor target = dense.RunLayers(batch.Tokens, cancellationToken);
            var stack = new LayerStack(pruned, batch.Tokens, Recompute, cancellationToken);
            (double loss, Tensor gradient) = DistillationLoss.Backward((dense, target), (pruned, stack.Hidden), batch, 1.0 / tokens);
            stack.Backward(gradient, cancellationToken);
            sum += loss;
            batch.Dispose();
        }

        return sum / tokens;
    }
}
