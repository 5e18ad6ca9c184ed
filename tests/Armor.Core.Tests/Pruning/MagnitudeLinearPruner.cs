using Armor.Core.Calibration;
using Armor.Core.Calibration.Channels;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Allocation;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

/// <summary>A pruner in a few lines: scales what magnitude pruning keeps by an input statistic, so that its result depends on calibration.</summary>
internal class MagnitudeLinearPruner : ILinearPruner
{
    public ActivationMoments Moments { get; init; } = ActivationMoments.CrossMoment | ActivationMoments.Hessian;

    public bool UsesGradients => false;

    public SparsityPattern Pattern => SparsityPattern.TwoFour;

    public IReadOnlyDictionary<string, string> Fingerprint { get; init; } = new Dictionary<string, string> { ["pruner"] = "magnitude" };

    public ChannelOrders? Orders(ModelConfiguration configuration, CancellationToken cancellationToken) => null;

    public IReadOnlyList<BlockSizes> BlockChoices(long rows, long columns) => [];

    public IReadOnlyList<BlockTrial> TryBlocks(
        string name, Tensor weight, ActivationStatistics statistics, GradientStatistics gradients, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public PrunedLinear Prune(
        string name,
        Tensor weight,
        ActivationStatistics statistics,
        GradientStatistics? gradients,
        BlockSizes? blocks,
        IProgress<double>? progress,
        CancellationToken cancellationToken)
    {
        Seen(name, statistics);
        double mean = statistics.Diagonal.data<double>().ToArray().Average();
        float[] values = weight.data<float>().ToArray();
        for (int group = 0; group < values.Length; group += 4)
        {
            foreach (int place in Enumerable.Range(group, 4).OrderBy(place => MathF.Abs(values[place])).Take(2))
            {
                values[place] = 0;
            }
        }

        float scale = (float)(1 + (0.1 / (1 + mean)));
        var core = SparseCore.FromDense([.. values.Select(value => value * scale)], (int)weight.shape[0], (int)weight.shape[1]);
        progress?.Report(mean);
        return new PrunedLinear(new ArmorLayer(null, core, null), mean, 2 * mean, [$"mean {mean:r}"]);
    }

    protected virtual void Seen(string name, ActivationStatistics statistics)
    {
    }
}
