using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// H = mean of x·xᵀ + damping: the true output error ‖(W − A·S·B)x‖² on the calibration tokens. Couples all columns. Start from the solution
/// of the diagonal loss: a cold start ends higher.
/// </summary>
public sealed class FullHessianLoss : IProxyLoss, IDisposable
{
    private readonly Tensor hessian;

    /// <summary>Makes the loss from the second moment of the inputs.</summary>
    /// <param name="secondMoment">H [d_in, d_in], mean of x·xᵀ.</param>
    /// <param name="damping">Added to the diagonal, as a share of its mean; 1e-3 to 1e-2 as a rule.</param>
    /// <exception cref="ArgumentException">H is not square or not finite.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The damping is negative.</exception>
    public FullHessianLoss(Tensor secondMoment, double damping)
    {
        ArgumentNullException.ThrowIfNull(secondMoment);
        ArgumentOutOfRangeException.ThrowIfNegative(damping);
        using var scope = NewDisposeScope();
        hessian = HessianConditioning.Damped(secondMoment, damping, float32).DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public double Value(Tensor error)
    {
        using var scope = NewDisposeScope();
        // Rounding can leave a tiny negative sum where the error is almost zero.
        return Math.Max(0, error.matmul(hessian).Inner(error));
    }

    /// <inheritdoc/>
    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount)
    {
        using var scope = NewDisposeScope();
        return error.matmul(hessian.narrow(1, firstColumn, columnCount)).MoveToOuterDisposeScope();
    }

    /// <summary>What columns of an error add to those of E·H.</summary>
    /// <param name="strip">Columns first .. of an error that is zero elsewhere [rows, n].</param>
    /// <param name="first">The strip's first column.</param>
    /// <param name="firstColumn">The first column wanted; all from there on are returned.</param>
    /// <returns>(E·H)[:, firstColumn ..).</returns>
    internal Tensor MultiplyStrip(Tensor strip, long first, long firstColumn)
    {
        using var scope = NewDisposeScope();
        Tensor rows = hessian.narrow(0, first, strip.shape[1]);
        return strip.matmul(rows.narrow(1, firstColumn, hessian.shape[1] - firstColumn)).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public Tensor HessianBlock(long firstColumn, long size)
    {
        using var scope = NewDisposeScope();
        return hessian.narrow(0, firstColumn, size).narrow(1, firstColumn, size).clone().MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public bool CouplesBlocks(long blockSize) => blockSize < hessian.shape[0];

    /// <summary>Frees the Hessian.</summary>
    public void Dispose() => hessian.Dispose();
}
