using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Allocation;
using Armor.Core.Pruning.Planning;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>What a run finds out about the dense model before it prunes the first weight: the gradients at the linears' outputs, and block sizes by them.</summary>
internal sealed class Preparation(
    LayerwiseModel model,
    IReadOnlyList<int[]> sequences,
    ILinearPruner pruner,
    ModelPrunerOptions options,
    MemoryPlan plan,
    Action<string> announce,
    CancellationToken cancellationToken)
{
    /// <summary>Does what an earlier run has not done yet.</summary>
    /// <param name="gradients">Get the gradients, where the pruner uses them.</param>
    /// <param name="trials">Get the trials of block sizes, where they are to be chosen.</param>
    /// <returns>The block sizes of those linears that are not to have the pruner's usual ones.</returns>
    public IReadOnlyDictionary<string, BlockSizes> Run(GradientFiles gradients, TrialFiles trials)
    {
        if (!pruner.UsesGradients)
        {
            return new Dictionary<string, BlockSizes>();
        }

        List<int[]> own = First(sequences, options.GradientTokens);
        if (!gradients.IsComplete)
        {
            // A backward pass keeps what a forward pass drops: half as many tokens at once.
            OverBatches(own, Math.Max(1, plan.TokensPerBatch / 2), batches => CollectGradients(batches, gradients));
        }

        return Allocates(pruner, options, model.Configuration) ? AllocateBlocks(own, gradients, trials) : new Dictionary<string, BlockSizes>();
    }

    /// <summary>Whether a run chooses block sizes by trials.</summary>
    internal static bool Allocates(ILinearPruner pruner, ModelPrunerOptions options, ModelConfiguration configuration) =>
        options.AllocateBlocks && ModelShapes.Linears(configuration).Any(linear => pruner.BlockChoices(linear.Rows, linear.Columns).Count > 1);

    /// <summary>The first sequences of so many tokens, at least one.</summary>
    internal static List<int[]> First(IReadOnlyList<int[]> sequences, int tokens)
    {
        var taken = new List<int[]>();
        long sum = 0;
        foreach (int[] sequence in sequences.TakeWhile(sequence => taken.Count == 0 || (sum += sequence.Length) <= tokens))
        {
            sum += taken.Count == 0 ? sequence.Length : 0;
            taken.Add(sequence);
        }

        return taken;
    }

    private void CollectGradients(IReadOnlyList<CalibrationBatch> batches, GradientFiles gradients)
    {
        new GradientWalk(model, batches, Seeds.Mix(unchecked((ulong)options.Pruner.Seed), "gradients")).Run(
            gradients.Write,
            Path.Combine(gradients.Folder, "streams"),
            plan.StreamBytes,
            layer => announce(layer < model.Configuration.LayerCount ? FormattableString.Invariant($"gradients, layer {layer}") : "gradients, head"),
            cancellationToken);
        gradients.Complete();
    }

    private IReadOnlyDictionary<string, BlockSizes> AllocateBlocks(List<int[]> own, GradientFiles gradients, TrialFiles trials)
    {
        OverBatches(own, plan.TokensPerBatch, batches => new AllocationWalk(model, batches, pruner, gradients, trials).Run(
            plan.StreamBytes, plan.KeptBytes, layer => announce(FormattableString.Invariant($"block sizes, layer {layer}")), cancellationToken));
        return BlockAllocation.Choose(
            [.. Enumerable.Range(0, model.Configuration.LayerCount).SelectMany(layer => ModelShapes.Linears(model.Configuration)
                .Select(linear => (Name: ModelShapes.LayerPrefix(layer) + linear.Name, linear.Rows, linear.Columns))
                .Where(linear => trials.Has(linear.Name))
                .Select(linear => new LinearTrials(linear.Name, linear.Rows, linear.Columns, trials.Read(linear.Name))))]);
    }

    private void OverBatches(List<int[]> own, int tokensPerBatch, Action<IReadOnlyList<CalibrationBatch>> action)
    {
        IReadOnlyList<CalibrationBatch> batches =
            CalibrationBatch.Create(own, tokensPerBatch, CPU, length => model.Configuration.HasLongRotation(length));
        try
        {
            action(batches);
        }
        finally
        {
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }
    }
}
