using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The coordinates of one stage: the matrix to come near to, the loss, and for the normalised loss the scales between W̄ and W. Owns its tensors.
/// </summary>
internal sealed class PruningFrame : IDisposable
{
    private readonly Tensor target;
    private readonly Tensor? rows;
    private readonly Tensor? columns;

    private PruningFrame(Tensor target, IProxyLoss loss, Tensor? rows, Tensor? columns)
    {
        this.target = target.DetachFromDisposeScope();
        this.rows = rows?.DetachFromDisposeScope();
        this.columns = columns?.DetachFromDisposeScope();
        Loss = loss;
        // An all-zero weight has nothing to lose; any scale will do.
        double total = loss.Value(target);
        TotalLoss = total > 0 && double.IsFinite(total) ? total : 1;
    }

    /// <summary>W or W̄ [d_out, d_in].</summary>
    public Tensor Target => target;

    /// <summary>The stage's loss.</summary>
    public IProxyLoss Loss { get; }

    /// <summary>The loss of an all-zero weight, against which losses are reported.</summary>
    public double TotalLoss { get; }

    /// <summary>Makes the frame of a stage.</summary>
    /// <param name="weight">W, or the cross target.</param>
    /// <param name="statistics">Of the inputs.</param>
    /// <param name="gradients">At the outputs, where the full Hessian's stages take them into account.</param>
    /// <param name="stage">The loss.</param>
    /// <param name="inputBlock">b_B, the size of a block-diagonal Hessian's blocks.</param>
    /// <param name="options">Its damping.</param>
    public static PruningFrame For(
        Tensor weight, ActivationStatistics statistics, GradientStatistics? gradients, StageLoss stage, int inputBlock,
        ArmorPrunerOptions options)
    {
        using var scope = NewDisposeScope();
        double damping = options.HessianDamping;
        switch (stage)
        {
            case StageLoss.NormalizedDiagonal:
                var normalized = WeightNormalization.Of(weight);
                return new(normalized.Weight, new DiagonalLoss(statistics.Diagonal), normalized.Rows, normalized.Columns);
            case StageLoss.Diagonal:
                // The stage prepares for the full Hessian where there is one: the same damping then.
                Tensor h = statistics.Hessian is null ? statistics.Diagonal : statistics.Diagonal.Plus(statistics.Diagonal.mean().Times(damping));
                return new(weight.alias(), new DiagonalLoss(h), null, null);
            case StageLoss.BlockDiagonal:
                return new(weight.alias(), new BlockDiagonalLoss(statistics.Hessian!, inputBlock, damping), null, null);
            case StageLoss.FullHessian:
                IProxyLoss loss = gradients is null
                    ? new FullHessianLoss(statistics.Hessian!, damping)
                    : new TwoSidedLoss(statistics.Hessian!, damping, gradients, options.GradientDamping);
                return new(weight.alias(), loss, null, null);
            default:
                throw new ArgumentOutOfRangeException(nameof(stage), stage, null);
        }
    }

    /// <summary>The frame of a loss that the caller brings.</summary>
    public static PruningFrame For(Tensor weight, IProxyLoss loss)
    {
        using var scope = NewDisposeScope();
        return new(weight.alias(), loss, null, null);
    }

    /// <summary>The loss of a factorisation in this frame, relative to <see cref="TotalLoss"/>; infinite where it is not a number.</summary>
    public double RelativeLoss(ArmorFactorization factorization)
    {
        using var scope = NewDisposeScope();
        return Relative(Loss.Value(target - factorization.Product()));
    }

    /// <summary>A loss relative to <see cref="TotalLoss"/>; infinite where it is not a number.</summary>
    public double Relative(double loss) => double.IsNaN(loss) ? double.PositiveInfinity : loss / TotalLoss;

    /// <summary>The NoWag-P start in this frame: identity wrappers of the given sizes around the masked target.</summary>
    public ArmorFactorization Start(Tensor mask, BlockSizes sizes)
    {
        using var scope = NewDisposeScope();
        return new(target * mask, Identity(sizes.Output, 0), Identity(sizes.Input, 1));
    }

    /// <summary>Brings a factorisation of W into this frame.</summary>
    public void Enter(ArmorFactorization factorization) => Scale(factorization, rows?.reciprocal(), columns?.reciprocal());

    /// <summary>Brings a factorisation in this frame back to one of W.</summary>
    public void Leave(ArmorFactorization factorization) => Scale(factorization, rows, columns);

    /// <summary>Frees target, loss and scales.</summary>
    public void Dispose()
    {
        target.Dispose();
        rows?.Dispose();
        columns?.Dispose();
        (Loss as IDisposable)?.Dispose();
    }

    // Scales fold into the wrappers; where a wrapper is the identity, into the core.
    private static void Scale(ArmorFactorization factorization, Tensor? rows, Tensor? columns)
    {
        using var scope = NewDisposeScope();
        if (rows is not null)
        {
            if (factorization.OutputBlocks is { } a)
            {
                factorization.OutputBlocks = a * rows.view(a.shape[0], a.shape[1], 1);
            }
            else
            {
                factorization.Core = factorization.Core * rows.unsqueeze(1);
            }
        }

        if (columns is not null)
        {
            if (factorization.InputBlocks is { } b)
            {
                factorization.InputBlocks = b * columns.view(b.shape[0], 1, b.shape[2]);
            }
            else
            {
                factorization.Core = factorization.Core * columns;
            }
        }
    }

    private Tensor? Identity(int? size, int side) =>
        size is { } b ? eye(b, dtype: float32, device: target.device).unsqueeze(0).repeat(target.shape[side] / b, 1, 1) : null;
}
