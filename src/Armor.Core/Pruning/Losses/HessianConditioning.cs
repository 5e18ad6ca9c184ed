using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>Makes statistics usable as a Hessian: checks, floors and damping in one place.</summary>
internal static class HessianConditioning
{
    private const long StripRows = 512;

    /// <summary>h in float64, checked, with a floor relative to its mean; all ones where every input was zero.</summary>
    public static Tensor CheckedDiagonal(Tensor meanSquares, double floor)
    {
        if (meanSquares.dim() != 1)
        {
            throw new ArgumentException($"The input mean squares must be a vector [d_in]; found {meanSquares.dim()} dimensions.", nameof(meanSquares));
        }

        using var scope = NewDisposeScope();
        Tensor h = meanSquares.to(float64);
        if (!h.isfinite().all().IsTrue() || h.Negative().any().IsTrue())
        {
            throw new ArgumentException("The input mean squares must be finite and not negative.", nameof(meanSquares));
        }

        double mean = h.mean().ToNumber();
        Tensor usable = mean > 0 ? h.AtLeast(mean * floor) : ones_like(h);
        return usable.MoveToOuterDisposeScope();
    }

    /// <summary>The first damping that is tried where none was asked for and one is needed.</summary>
    public const double LeastRaised = 1e-4;

    /// <summary>Damping beyond which H counts for nothing.</summary>
    public const double MostDamping = 1e8;

    // H is used in float32, which may take this share of its largest entry from an eigenvalue.
    private const double Margin = 1e-7;

    /// <summary>The least damping, raised tenfold from the one wanted, with which H is positive definite in float32.</summary>
    /// <param name="hessian">H [d_in, d_in].</param>
    /// <param name="damping">A share of the mean of H's diagonal.</param>
    public static double PositiveDamping(Tensor hessian, double damping)
    {
        for (; damping < MostDamping; damping = Math.Max(10 * damping, LeastRaised))
        {
            using var scope = NewDisposeScope();
            Tensor h = Damped(hessian, damping);
            Tensor diagonal = h.diagonal();
            diagonal.AddInPlace(ones_like(diagonal), -Margin * diagonal.max().ToNumber());
            if (BlockedCholesky.FactorInPlace(h))
            {
                break;
            }
        }

        return damping;
    }

    /// <summary>H + damping·mean(diag H)·I, computed in float64, symmetrised and checked; the identity where every input was zero.</summary>
    /// <param name="hessian">H [d_in, d_in].</param>
    /// <param name="damping">A share of the mean of H's diagonal.</param>
    /// <param name="type">The type of the result, float64 where none is given.</param>
    public static Tensor Damped(Tensor hessian, double damping, ScalarType type = ScalarType.Float64)
    {
        if (hessian.dim() != 2 || hessian.shape[0] != hessian.shape[1])
        {
            throw new ArgumentException($"The Hessian must be square [d_in, d_in]; found [{string.Join(", ", hessian.shape)}].", nameof(hessian));
        }

        using var scope = NewDisposeScope();
        Tensor sum = hessian.sum(float64);
        if (!sum.isfinite().IsTrue())
        {
            throw new ArgumentException("The Hessian must be finite.", nameof(hessian));
        }

        // Strip by strip, so that one copy is all the memory it takes.
        long size = hessian.shape[0];
        Tensor h = empty([size, size], dtype: type, device: hessian.device);
        for (long start = 0; start < size; start += StripRows)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(StripRows, size - start);
            Tensor rows = hessian.narrow(0, start, count).to(float64);
            Tensor columns = hessian.narrow(1, start, count).t().to(float64);
            h.narrow(0, start, count).copy_(rows.Plus(columns).TimesInPlace(0.5));
        }

        Tensor diagonal = hessian.diagonal().to(float64);
        double mean = diagonal.mean().ToNumber();
        if (mean > 0)
        {
            h.diagonal().copy_(diagonal.Plus(damping * mean));
        }
        else
        {
            h.copy_(eye(size, dtype: type, device: h.device));
        }

        return h.MoveToOuterDisposeScope();
    }
}
