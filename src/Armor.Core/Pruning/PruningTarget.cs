using Armor.Core.Pruning.Losses;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>What a weight's factors are to come near to: the weight itself, or the cross target where the statistics carry its moment.</summary>
internal static class PruningTarget
{
    /// <summary>The target [d_out, d_in], and the damping with which the Hessian is positive definite.</summary>
    /// <param name="run">The weight.</param>
    /// <param name="options">The damping wanted, and what to aim at.</param>
    /// <param name="needsHessian">Whether a stage needs the Hessian.</param>
    public static (Tensor Target, double Damping) Of(WeightRun run, ArmorPrunerOptions options, bool needsHessian)
    {
        double damping = options.HessianDamping;
        Tensor? target = null;
        if (options.CrossTarget && run.Statistics.CrossMoment is { } cross)
        {
            // Its factorisation tells whether the damping is enough; where there is next to none, rounding must be thought of too.
            Tensor hessian = run.Statistics.Hessian!;
            damping = damping < HessianConditioning.LeastRaised ? HessianConditioning.PositiveDamping(hessian, damping) : damping;
            target = Solve();
            while (target is null && damping < HessianConditioning.MostDamping)
            {
                damping *= 10;
                target = Solve();
            }

            Tensor? Solve() =>
                CrossTarget.Of(run.Weight, hessian, cross, damping, run.Statistics.ResidualMoment, options.ResidualCorrection);

            run.Statistics.ReleaseCrossMoment();
            if (target is null)
            {
                run.Notes.Add("The cross target had no finite solution; the weight itself was the target.");
            }
        }

        if (target is null && needsHessian)
        {
            damping = HessianConditioning.PositiveDamping(run.Statistics.Hessian!, options.HessianDamping);
        }

        if (target is not null || needsHessian)
        {
            run.NoteDamping(options.HessianDamping, damping);
        }

        return (target ?? run.Weight, damping);
    }
}
