using static TorchSharp.torch;

namespace Armor.Core.Pruning.Baselines;

/// <summary>The methods that give a plain sparse weight without optimisation.</summary>
internal static class BaselineMethod
{
    /// <summary>Prunes a weight by the method of the options.</summary>
    /// <returns>The sparse weight [d_out, d_in], and the damping that was used.</returns>
    /// <exception cref="ArgumentException">SparseGPT without a Hessian.</exception>
    public static (Tensor Pruned, double Damping) Prune(WeightRun run, ArmorPrunerOptions options)
    {
        Tensor weight = run.Weight;
        Tensor h = run.Statistics.Diagonal;
        double damping = options.HessianDamping;
        Tensor pruned;
        switch (options.Method)
        {
            case PruningMethod.Magnitude:
                pruned = LargestMask.Magnitude(weight, options.Pattern);
                break;
            case PruningMethod.Wanda:
                pruned = LargestMask.Wanda(weight, h, options.Pattern);
                break;
            case PruningMethod.NoWagP:
                pruned = LargestMask.NoWagP(weight, h, options.Pattern);
                break;
            case PruningMethod.SparseGpt:
                Tensor hessian = run.Statistics.Hessian
                    ?? throw new ArgumentException($"{run.Name}: SparseGPT needs statistics with a Hessian; found the diagonal only.", nameof(run));
                (pruned, damping) = SparseGpt.Prune(weight, hessian, options.HessianDamping, options.Pattern, run.CancellationToken);
                run.NoteDamping(options.HessianDamping, damping);
                break;
            default:
                throw new InvalidOperationException($"Unknown method {options.Method}.");
        }

        return (pruned, damping);
    }
}
