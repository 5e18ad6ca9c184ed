using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>Makes statistics usable as a Hessian: checks, floors and damping in one place.</summary>
internal static class HessianConditioning
{
    /// <summary>h in float64, checked, with a floor relative to its mean; all ones where every input was zero.</summary>
    public static Tensor CheckedDiagonal(Tensor meanSquares, double floor)
    {
        if (meanSquares.dim() != 1)
        {
            throw new ArgumentException($"The input mean squares must be a vector [d_in]; found {meanSquares.dim()} dimensions.", nameof(meanSquares));
        }

        using var scope = NewDisposeScope();
        Tensor h = meanSquares.to(float64);
        if (!h.isfinite().all().ToBoolean() || h.Negative().any().ToBoolean())
        {
            throw new ArgumentException("The input mean squares must be finite and not negative.", nameof(meanSquares));
        }

        double mean = h.mean().ToDouble();
        Tensor usable = mean > 0 ? h.AtLeast(mean * floor) : ones_like(h);
        return usable.MoveToOuterDisposeScope();
    }

    /// <summary>H + damping·mean(diag H)·I in float64, symmetrised and checked; the identity where every input was zero.</summary>
    public static Tensor Damped(Tensor hessian, double damping)
    {
        if (hessian.dim() != 2 || hessian.shape[0] != hessian.shape[1])
        {
            throw new ArgumentException($"The Hessian must be square [d_in, d_in]; found [{string.Join(", ", hessian.shape)}].", nameof(hessian));
        }

        using var scope = NewDisposeScope();
        Tensor h = hessian.to(float64);
        if (!h.isfinite().all().ToBoolean())
        {
            throw new ArgumentException("The Hessian must be finite.", nameof(hessian));
        }

        h = h.Plus(h.t()).Times(0.5);
        double mean = h.diagonal().mean().ToDouble();
        Tensor identity = eye(h.shape[0], dtype: float64, device: h.device);
        Tensor usable = mean > 0 ? h.Plus(identity.Times(damping * mean)) : identity;
        return usable.MoveToOuterDisposeScope();
    }
}
