using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>H = diag(h): each input counts by its own mean square, as in the paper (arXiv 2510.05528, Eq. 2).</summary>
public sealed class DiagonalLoss : IProxyLoss, IDisposable
{
    // Columns that no token reached still need a weight, or their least-squares systems are singular.
    private const double Floor = 1e-8;

    private readonly Tensor weights;

    /// <summary>Makes the loss from the mean squares of the inputs.</summary>
    /// <param name="meanSquares">h [d_in], none negative; values below 1e-8 of their mean are raised to it.</param>
    /// <exception cref="ArgumentException">h is not a vector, or has negative or non-finite values.</exception>
    public DiagonalLoss(Tensor meanSquares)
    {
        ArgumentNullException.ThrowIfNull(meanSquares);
        using var scope = NewDisposeScope();
        weights = HessianConditioning.CheckedDiagonal(meanSquares, Floor).to(float32).contiguous().DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public double Value(Tensor error)
    {
        using var scope = NewDisposeScope();
        return (error * error).sum(0, type: float64).mul(weights.to(float64)).sum().ToNumber();
    }

    /// <inheritdoc/>
    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount)
    {
        using var scope = NewDisposeScope();
        return (error.narrow(1, firstColumn, columnCount) * weights.narrow(0, firstColumn, columnCount)).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public Tensor HessianBlock(long firstColumn, long size)
    {
        using var scope = NewDisposeScope();
        return weights.narrow(0, firstColumn, size).diag().MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public bool CouplesBlocks(long blockSize) => false;

    /// <summary>Frees the weights.</summary>
    public void Dispose() => weights.Dispose();
}
