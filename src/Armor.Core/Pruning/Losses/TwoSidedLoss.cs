using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// L(E) = tr(G·E·H·Eᵀ): errors count by what the inputs do to them (H) and by what the model's output makes of them (G), the Kronecker-factored
/// second-order change of the model's own loss (Martens and Grosse 2015, arXiv 1503.05671). Couples all columns and all rows.
/// </summary>
public sealed class TwoSidedLoss : IProxyLoss, IDisposable
{
    private readonly FullHessianLoss inputs;
    private readonly Tensor outputs;

    /// <summary>Makes the loss from the second moments on both sides.</summary>
    /// <param name="secondMoment">H [d_in, d_in], mean of x·xᵀ.</param>
    /// <param name="damping">Added to H's diagonal, as a share of its mean.</param>
    /// <param name="gradientMoment">G [d_out, d_out], mean of g·gᵀ over the gradients at the linear's output. Any scale: its mean diagonal becomes 1.</param>
    /// <param name="gradientDamping">Added to G's diagonal, as a share of its mean.</param>
    /// <exception cref="ArgumentException">A moment is not square or not finite.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A damping is negative.</exception>
    public TwoSidedLoss(Tensor secondMoment, double damping, Tensor gradientMoment, double gradientDamping)
    {
        ArgumentNullException.ThrowIfNull(gradientMoment);
        ArgumentOutOfRangeException.ThrowIfNegative(gradientDamping);
        inputs = new FullHessianLoss(secondMoment, damping);
        using var scope = NewDisposeScope();
        Tensor g = HessianConditioning.Damped(gradientMoment, gradientDamping);
        outputs = g.Over(g.diagonal().mean().ToDouble()).to(float32).contiguous().DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public Tensor OutputHessian => outputs;

    /// <inheritdoc/>
    public double Value(Tensor error)
    {
        using var scope = NewDisposeScope();
        Tensor weighted = inputs.MultiplyHessian(outputs.matmul(error), 0, error.shape[1]);
        return Math.Max(0, (weighted * error).sum(float64).ToDouble());
    }

    /// <inheritdoc/>
    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount) => inputs.MultiplyHessian(error, firstColumn, columnCount);

    /// <inheritdoc/>
    public Tensor HessianBlock(long firstColumn, long size) => inputs.HessianBlock(firstColumn, size);

    /// <inheritdoc/>
    public bool CouplesBlocks(long blockSize) => inputs.CouplesBlocks(blockSize);

    /// <summary>Frees both moments.</summary>
    public void Dispose()
    {
        inputs.Dispose();
        outputs.Dispose();
    }
}
