using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The weight to aim at when the inputs are those of a pruned model: minimising the mean of ‖W·x_d − Ŵ·x_p‖², with H = mean x_p·x_pᵀ and
/// C = mean x_d·x_pᵀ, is the full-Hessian loss with W replaced by W* = W·(C + δI)·(H + δI)⁻¹.
/// </summary>
internal static class CrossTarget
{
    private const long StripRows = 1024;

    /// <summary>W* [d_out, d_in], float32; <see langword="null"/> where the system has no finite solution.</summary>
    /// <param name="weight">W [d_out, d_in].</param>
    /// <param name="secondMoment">H [d_in, d_in].</param>
    /// <param name="crossMoment">C [d_in, d_in].</param>
    /// <param name="damping">δ as a share of the mean of H's diagonal.</param>
    public static Tensor? Of(Tensor weight, Tensor secondMoment, Tensor crossMoment, double damping)
    {
        using var scope = NewDisposeScope();
        double mean = secondMoment.diagonal().to(float64).mean().ToDouble();
        if (mean <= 0)
        {
            // No input ever came: any weight has the same output, and W is the natural one.
            return weight.to(float32).alias().MoveToOuterDisposeScope();
        }

        double added = damping * mean;
        Tensor factor = HessianConditioning.Damped(secondMoment, damping);
        if (!BlockedCholesky.FactorInPlace(factor))
        {
            return null;
        }

        Tensor target = empty_like(weight, dtype: float32);
        for (long start = 0; start < weight.shape[0]; start += StripRows)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(StripRows, weight.shape[0] - start);
            Tensor own = weight.narrow(0, start, count).to(float64);
            Tensor right = own.matmul(crossMoment.to(float64)).AddInPlace(own, added);
            target.narrow(0, start, count).copy_(BlockedCholesky.Solve(factor, right.t()).t());
        }

        return target.sum().isfinite().ToBoolean() ? target.MoveToOuterDisposeScope() : null;
    }
}
