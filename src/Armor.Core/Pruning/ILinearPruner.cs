using Armor.Core.Calibration;
using Armor.Core.Calibration.Channels;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Allocation;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>Prunes one weight at a time: the seam between the walk over a model and the way in which a weight is pruned.</summary>
internal interface ILinearPruner
{
    /// <summary>The moments of the inputs that <see cref="Prune"/> reads where calibration offers them.</summary>
    ActivationMoments Moments { get; }

    /// <summary>Whether <see cref="Prune"/> makes use of gradients, so that a backward pass is worth its time.</summary>
    bool UsesGradients { get; }

    /// <summary>The pattern of the layers that it makes.</summary>
    SparsityPattern Pattern { get; }

    /// <summary>All that the result depends on besides weight, statistics and name, option by option: two pruners of equal text are one.</summary>
    IReadOnlyDictionary<string, string> Fingerprint { get; }

    /// <summary>The orders in which the pruner wants a model's inner channels; null where it makes no difference to it.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="cancellationToken">Stops the search for an order.</param>
    ChannelOrders? Orders(ModelConfiguration configuration, CancellationToken cancellationToken);

    /// <summary>The sizes of wrappers that are worth a trial for a weight of the given shape, the first the usual one; one or none leaves no choice.</summary>
    IReadOnlyList<BlockSizes> BlockChoices(long rows, long columns);

    /// <summary>Tries <see cref="BlockChoices"/> in short runs; the result depends on the arguments alone.</summary>
    /// <param name="name">The linear, for messages and seeds.</param>
    /// <param name="weight">float32 [d_out, d_in].</param>
    /// <param name="statistics">Of the linear's inputs in the dense model.</param>
    /// <param name="gradients">At the linear's outputs in the dense model.</param>
    /// <param name="cancellationToken">Stops the work between steps.</param>
    IReadOnlyList<BlockTrial> TryBlocks(
        string name, Tensor weight, ActivationStatistics statistics, GradientStatistics gradients, CancellationToken cancellationToken);

    /// <summary>Prunes one weight; the result depends on the arguments alone.</summary>
    /// <param name="name">The linear, for messages and seeds.</param>
    /// <param name="weight">float32 [d_out, d_in].</param>
    /// <param name="statistics">Of the linear's inputs.</param>
    /// <param name="gradients">At the linear's outputs, or null.</param>
    /// <param name="blocks">The wrappers' sizes; null for the usual ones.</param>
    /// <param name="progress">Gets the loss as it falls.</param>
    /// <param name="cancellationToken">Stops the work between steps.</param>
    PrunedLinear Prune(
        string name,
        Tensor weight,
        ActivationStatistics statistics,
        GradientStatistics? gradients,
        BlockSizes? blocks,
        IProgress<double>? progress,
        CancellationToken cancellationToken);
}

/// <summary>A pruned weight and how it went.</summary>
/// <param name="Layer">A·S·B, not yet rounded to its storage type.</param>
/// <param name="Loss">The loss reached.</param>
/// <param name="StartLoss">The loss at the start, in the same unit.</param>
/// <param name="Notes">Damping raised, fall-backs taken; as a rule empty.</param>
internal sealed record PrunedLinear(ArmorLayer Layer, double Loss, double StartLoss, IReadOnlyList<string> Notes);
