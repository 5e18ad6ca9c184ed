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
    /// <summary>W* [d_out, d_in], float32; <see langword="null"/> where the system has no finite solution.</summary>
    /// <param name="weight">W [d_out, d_in].</param>
    /// <param name="secondMoment">H [d_in, d_in].</param>
    /// <param name="crossMoment">C [d_in, d_in].</param>
    /// <param name="damping">δ as a share of the mean of H's diagonal.</param>
    public static Tensor? Of(Tensor weight, Tensor secondMoment, Tensor crossMoment, double damping)
    {
        using var scope = NewDisposeScope();
        Tensor h = HessianConditioning.Damped(secondMoment, damping);
        Tensor added = (h - secondMoment.Plus(secondMoment.t()).Times(0.5).to(float64)).diagonal().diag();
        Tensor right = weight.to(float64).matmul(crossMoment.to(float64).Plus(added));
        Tensor target = linalg.solve(h, right.t()).t().to(float32).contiguous();
        return target.isfinite().all().ToBoolean() ? target.MoveToOuterDisposeScope() : null;
    }
}
