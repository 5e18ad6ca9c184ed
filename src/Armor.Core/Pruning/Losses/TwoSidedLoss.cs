using Armor.Core.Calibration.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// L(E) = tr(G·E·H·Eᵀ): errors count by what the inputs do to them (H, as in <see cref="FullHessianLoss"/>) and by what the model makes of them (G), the
/// Kronecker-factored second-order change of the model's own loss (Martens and Grosse 2015, arXiv 1503.05671). Couples all columns and all rows.
/// </summary>
internal sealed class TwoSidedLoss : IProxyLoss, IDisposable
{
    /// <summary>Makes the loss from the second moments on both sides.</summary>
    /// <param name="secondMoment">H [d_in, d_in], mean of x·xᵀ.</param>
    /// <param name="damping">Added to H's diagonal, as a share of its mean.</param>
    /// <param name="gradients">G, the statistics of the gradients at the linear's output.</param>
    /// <param name="gradientDamping">Added to G's diagonal, as a share of its mean.</param>
    /// <exception cref="ArgumentException">H is not square or not finite.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A damping is negative.</exception>
    public TwoSidedLoss(Tensor secondMoment, double damping, GradientStatistics gradients, double gradientDamping)
    {
        Inputs = new FullHessianLoss(secondMoment, damping);
        Outputs = new OutputHessian(gradients, gradientDamping, secondMoment.device);
    }

    /// <summary>tr(E·H·Eᵀ).</summary>
    public FullHessianLoss Inputs { get; }

    /// <summary>G.</summary>
    public OutputHessian Outputs { get; }

    /// <inheritdoc/>
    public double Value(Tensor error)
    {
        ArgumentNullException.ThrowIfNull(error);
        return Math.Max(0, Outputs.Sum(error, (own, weighted) => Inputs.MultiplyHessian(weighted, 0, error.shape[1]).Inner(own)));
    }

    /// <summary>Columns of E·H, without G.</summary>
    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount) => Inputs.MultiplyHessian(error, firstColumn, columnCount);

    /// <inheritdoc/>
    public Tensor HessianBlock(long firstColumn, long size) => Inputs.HessianBlock(firstColumn, size);

    /// <inheritdoc/>
    public bool CouplesBlocks(long blockSize) => Inputs.CouplesBlocks(blockSize);

    /// <summary>Frees both moments.</summary>
    public void Dispose()
    {
        Inputs.Dispose();
        Outputs.Dispose();
    }
}
