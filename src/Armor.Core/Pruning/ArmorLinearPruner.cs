using System.Text.Json;
using System.Text.Json.Serialization;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Channels;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Allocation;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>Prunes the linears of a model by <see cref="ArmorPruner"/>.</summary>
internal sealed class ArmorLinearPruner : ILinearPruner
{
    private static readonly JsonSerializerOptions Json = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private readonly ArmorPrunerOptions options;
    private readonly ArmorPruner pruner;

    /// <summary>Makes the pruner.</summary>
    /// <param name="options">Valid options.</param>
    public ArmorLinearPruner(ArmorPrunerOptions options)
    {
        this.options = options;
        pruner = ArmorPruner.Create(options);
        Moments = MomentsOf(options);
        Pattern = options.Pattern;
        Fingerprint = FingerprintOf(options);
    }

    /// <inheritdoc/>
    public ActivationMoments Moments { get; }

    /// <inheritdoc/>
    public bool UsesGradients => options.UsesGradients;

    /// <inheritdoc/>
    public SparsityPattern Pattern { get; }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, string> Fingerprint { get; }

    /// <inheritdoc/>
    public ChannelOrders? Orders(ModelConfiguration configuration, CancellationToken cancellationToken)
    {
        if (!options.OrderChannels || options.Method != PruningMethod.Armor)
        {
            return null;
        }

        // Down's input side has the channels, or, where it has no wrapper, the output side of gate and up.
        LinearDescription down = ModelShapes.Linears(configuration).First(linear => linear.Group == LinearGroup.MlpOutput);
        int? block = BlockSizes.For(options, down.Rows, down.Columns).Input ?? BlockSizes.For(options, down.Columns, down.Rows).Output;
        return block is { } size ? new ChannelOrders(configuration, size, cancellationToken) : null;
    }

    /// <inheritdoc/>
    /// <remarks>Only gradients make the losses of different linears comparable.</remarks>
    public IReadOnlyList<BlockSizes> BlockChoices(long rows, long columns) =>
        UsesGradients && options.Method == PruningMethod.Armor ? BlockTrials.Choices(options, rows, columns) : [];

    /// <inheritdoc/>
    public IReadOnlyList<BlockTrial> TryBlocks(
        string name, Tensor weight, ActivationStatistics statistics, GradientStatistics gradients, CancellationToken cancellationToken) =>
        BlockTrials.Run(options, name, weight, statistics, gradients, cancellationToken);

    /// <inheritdoc/>
    public PrunedLinear Prune(
        string name,
        Tensor weight,
        ActivationStatistics statistics,
        GradientStatistics? gradients,
        BlockSizes? blocks,
        IProgress<double>? progress,
        CancellationToken cancellationToken)
    {
        var losses = progress is null ? null : new LossProgress(progress);
        PrunedWeight pruned = pruner.Prune(weight, statistics, name, gradients, blocks, losses, cancellationToken);
        return new PrunedLinear(pruned.Layer, pruned.Loss, pruned.StartLoss, pruned.Notes);
    }

    // The baselines read h at most, but their loss is told under H, so that it can be compared from method to method.
    private static ActivationMoments MomentsOf(ArmorPrunerOptions options)
    {
        IReadOnlyList<PruningStage>? stages = options.Method switch
        {
            PruningMethod.Armor => options.Stages,
            PruningMethod.Dense24 => [options.Dense24Stage],
            _ => null,
        };
        if (stages is null)
        {
            return ActivationMoments.Hessian;
        }

        if (!stages.Any(stage => stage.NeedsHessian))
        {
            return ActivationMoments.Diagonal;
        }

        ActivationMoments residual = options.ResidualCorrection > 0 ? ActivationMoments.ResidualMoment : 0;
        return options.CrossTarget ? ActivationMoments.Hessian | ActivationMoments.CrossMoment | residual : ActivationMoments.Hessian;
    }

    private static SortedDictionary<string, string> FingerprintOf(ArmorPrunerOptions options)
    {
        var fingerprint = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (JsonProperty property in JsonSerializer.SerializeToElement(options, Json).EnumerateObject())
        {
            if (property.Name is not (nameof(ArmorPrunerOptions.Preset) or nameof(ArmorPrunerOptions.MaxDegreeOfParallelism)))
            {
                fingerprint.Add(property.Name, property.Value.GetRawText());
            }
        }

        return fingerprint;
    }

    // Progress<T> would post to another thread and lose the order.
    private sealed class LossProgress(IProgress<double> losses) : IProgress<PruningProgress>
    {
        public void Report(PruningProgress value) => losses.Report(value.Loss);
    }
}
