using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Allocation;

/// <summary>Short runs on one linear with wrappers of several sizes.</summary>
internal static class BlockTrials
{
    // Three cycles a stage already tell the sizes' losses well enough for the allocation to be within 4 % of the best; ten are no better than five.
    private const int Cycles = 5;

    /// <summary>The sizes worth a trial, the options' own first: half and twice that, and wrappers on one side; alone where there is no choice.</summary>
    public static IReadOnlyList<BlockSizes> Choices(ArmorPrunerOptions options, long rows, long columns)
    {
        int cap = BlockSizes.CapFor(options, rows, columns);
        (int Cap, WrapperSides Sides)[] others = options.Wrappers == WrapperSides.Both
            ?
            [
                (cap / 2, WrapperSides.Both),
                (2 * cap, WrapperSides.Both),
                (cap, WrapperSides.Output),
                (2 * cap, WrapperSides.Output),
                (2 * cap, WrapperSides.Input),
            ]
            : [(cap / 2, options.Wrappers), (2 * cap, options.Wrappers)];
        return cap > 1
            ? [.. others.Prepend((Cap: cap, Sides: options.Wrappers)).Select(choice => BlockSizes.UpTo(choice.Cap, choice.Sides, options, rows, columns)).Distinct()]
            : [default];
    }

    /// <summary>The options of a trial: some cycles of each stage, neither noise nor the pruned model's activations.</summary>
    public static ArmorPrunerOptions Brief(ArmorPrunerOptions options) => options with
    {
        CrossTarget = false,
        Stages = [.. options.Stages.Select(stage => stage with
        {
            WarmUpCycles = 0,
            AnnealingCycles = 0,
            PolishCycles = Math.Min(Cycles, stage.Cycles),
            EarlyStopping = null,
        })],
    };

    /// <summary>Tries every choice on one linear.</summary>
    /// <param name="options">Of the whole run.</param>
    /// <param name="name">The linear.</param>
    /// <param name="weight">float32 [d_out, d_in].</param>
    /// <param name="statistics">Of its inputs in the dense model, with the Hessian.</param>
    /// <param name="gradients">At its outputs in the dense model.</param>
    /// <param name="cancellationToken">Stops the work between steps.</param>
    /// <returns>At least one; the first is that of the options' own size.</returns>
    public static IReadOnlyList<BlockTrial> Run(
        ArmorPrunerOptions options,
        string name,
        Tensor weight,
        ActivationStatistics statistics,
        GradientStatistics gradients,
        CancellationToken cancellationToken)
    {
        var pruner = ArmorPruner.Create(Brief(options));
        double? unit = null;
        var trials = new List<BlockTrial>();
        foreach (BlockSizes blocks in Choices(options, weight.shape[0], weight.shape[1]))
        {
            cancellationToken.ThrowIfCancellationRequested();
            PrunedWeight pruned = pruner.Prune(weight, statistics, name, gradients, blocks: blocks, cancellationToken: cancellationToken);
            unit ??= Unit(weight, statistics, gradients, pruned.HessianDamping, options.GradientDamping);
            trials.Add(new BlockTrial(blocks, pruned.Loss * unit.Value));
        }

        return trials;
    }

    // What losses are relative to, in nats a token: ½·tr(G·W·H·Wᵀ), where the loss has G scaled to a mean diagonal of 1.
    private static double Unit(Tensor weight, ActivationStatistics statistics, GradientStatistics gradients, double damping, double gradientDamping)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        using var loss = new TwoSidedLoss(statistics.Hessian!, damping, gradients, gradientDamping);
        return 0.5 * loss.Outputs.Scale * loss.Value(weight.to(float32));
    }
}
