using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The weight to aim at when the inputs are those of a pruned model: minimising the mean of ‖W·x_d − Ŵ·x_p‖², with H = mean x_p·x_pᵀ and
/// C = mean x_d·x_pᵀ, is the full-Hessian loss with W replaced by W* = W·(C + δI)·(H + δI)⁻¹. A linear that writes to the residual stream r can make up
/// for what is missing there as well: with D = mean (r_d − r_p)·x_pᵀ, minimising ‖W·x_d + ρ(r_d − r_p) − Ŵ·x_p‖² adds ρ·D·(H + δI)⁻¹.
/// </summary>
internal static class CrossTarget
{
    private const long StripRows = 1024;

    /// <summary>W* [d_out, d_in], float32; <see langword="null"/> where the system has no finite solution.</summary>
    /// <param name="weight">W [d_out, d_in].</param>
    /// <param name="secondMoment">H [d_in, d_in].</param>
    /// <param name="crossMoment">C [d_in, d_in].</param>
    /// <param name="damping">δ as a share of the mean of H's diagonal.</param>
    /// <param name="residualMoment">D [d_out, d_in], or null.</param>
    /// <param name="correction">ρ, the share of what is missing that is made up for.</param>
    public static Tensor? Of(
        Tensor weight, Tensor secondMoment, Tensor crossMoment, double damping, Tensor? residualMoment = null, double correction = 0)
    {
        using var scope = NewDisposeScope();
        double mean = secondMoment.diagonal().to(float64).mean().ToNumber();
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
            Tensor right = Product(own, crossMoment).AddInPlace(own, added);
            if (residualMoment is not null && correction > 0)
            {
                right.AddInPlace(residualMoment.narrow(0, start, count).to(float64), correction);
            }

            target.narrow(0, start, count).copy_(BlockedCholesky.Solve(factor, right.t()).t());
        }

        return target.sum().isfinite().IsTrue() ? target.MoveToOuterDisposeScope() : null;
    }

    // X·C in float64, C strip by strip where it would have to be converted.
    private static Tensor Product(Tensor x, Tensor crossMoment)
    {
        if (crossMoment.dtype == float64)
        {
            return x.matmul(crossMoment);
        }

        Tensor product = empty_like(x);
        for (long start = 0; start < x.shape[1]; start += StripRows)
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(StripRows, x.shape[1] - start);
            product.narrow(1, start, count).copy_(x.matmul(crossMoment.narrow(1, start, count).to(float64)));
        }

        return product;
    }
}
