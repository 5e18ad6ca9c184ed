using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Calibration.Streams;
using Armor.Runtime.Models;

namespace Armor.Core.Pruning.Allocation;

/// <summary>One pass through the dense model that leaves the trials of every linear whose outputs have gradients; those which are there already are not made again.</summary>
internal sealed class AllocationWalk(
    LayerwiseModel model, IReadOnlyList<CalibrationBatch> batches, ILinearPruner pruner, GradientFiles gradients, TrialFiles trials)
{
    /// <summary>Does the pass.</summary>
    /// <param name="streamBytes">What the residual streams may take in memory.</param>
    /// <param name="keptBytes">What the inputs of a group may take in memory.</param>
    /// <param name="enterLayer">Told of each layer.</param>
    /// <param name="cancellationToken">Stops the work between steps.</param>
    public void Run(long streamBytes, long keptBytes, Action<int> enterLayer, CancellationToken cancellationToken)
    {
        int layers = model.Configuration.LayerCount;
        int first = Enumerable.Range(0, layers).FirstOrDefault(layer => Missing(layer).Any(), layers);
        if (first == layers)
        {
            return;
        }

        var storage = new WalkStorage(trials.StreamFolder, streamBytes, keptBytes, SpillKept: true);
        using (var walk = new CalibrationWalk(model, batches, CalibrationMode.Dense, crossMoment: false, storage, first, cancellationToken))
        {
            for (int layer = walk.FirstLayer; layer < layers; layer++)
            {
                enterLayer(layer);
                walk.EnterLayer(layer);
                HashSet<LinearDescription> missing = [.. Missing(layer)];
                foreach (var group in ModelShapes.Linears(model.Configuration).GroupBy(linear => (linear.Group, linear.Expert)))
                {
                    TryGroup(walk, ModelShapes.LayerPrefix(layer), group.Key, [.. group.Where(missing.Contains)], cancellationToken);
                    walk.Pass(group.Key.Group, group.Key.Expert, cancellationToken);
                }

                walk.CompleteLayer(layer);
            }
        }

        Directory.Delete(trials.StreamFolder, recursive: true);
    }

    private void TryGroup(
        CalibrationWalk walk, string prefix, (LinearGroup Group, int? Expert) group, LinearDescription[] linears, CancellationToken cancellationToken)
    {
        if (linears.Length == 0)
        {
            return;
        }

        using ActivationStatistics statistics = walk.Collect(group.Group, group.Expert, ActivationMoments.Hessian, cancellationToken);
        foreach (LinearDescription linear in linears)
        {
            using GradientStatistics outputs = gradients.Read(prefix + linear.Name)!;
            trials.Write(
                prefix + linear.Name,
                pruner.TryBlocks(prefix + linear.Name, walk.DenseWeight(linear.Name), statistics, outputs, cancellationToken));
        }
    }

    // An expert that no token reached has no gradients, and nothing to choose by.
    private IEnumerable<LinearDescription> Missing(int layer) => ModelShapes.Linears(model.Configuration).Where(linear =>
        gradients.Has(ModelShapes.LayerPrefix(layer) + linear.Name)
        && pruner.BlockChoices(linear.Rows, linear.Columns).Count > 1
        && !trials.Has(ModelShapes.LayerPrefix(layer) + linear.Name));
}
