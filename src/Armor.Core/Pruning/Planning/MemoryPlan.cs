using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Calibration.Streams;
using Armor.Runtime.Models;

namespace Armor.Core.Pruning.Planning;

/// <summary>
/// How a run's memory is spent: first what no run can do without, at its widest point; then the residual streams, then the inputs of a group, as far as
/// the budget goes. The rest of both lies in files.
/// </summary>
/// <param name="Budget">What the process may take, in bytes.</param>
/// <param name="Needed">What it takes at its widest point with no activation kept in memory.</param>
/// <param name="StreamBytes">What the residual streams get.</param>
/// <param name="KeptBytes">What the inputs of a group get.</param>
/// <param name="StreamTotal">All residual streams.</param>
/// <param name="KeptTotal">The inputs of the widest group.</param>
/// <param name="TokensPerBatch">The tokens that go through a layer at once.</param>
internal sealed record MemoryPlan(
    long Budget, long Needed, long StreamBytes, long KeptBytes, long StreamTotal, long KeptTotal, int TokensPerBatch)
{
    // .NET, libtorch and its buffers.
    private const long Runtime = 250L << 20;

    // Freed blocks of medium size that the allocators hold on to, and garbage between collections; measured as Runtime.
    private const long MostRetained = 200L << 20;
    private const double Slack = 1.1;

    // Tensors of a weight's size in flight at once: target, states of the loop, error and products; measured as the growth of a run's peak.
    private const long WeightsInFlight = 12;

    // The share of the free memory that a run takes where no budget is set.
    private const double DefaultShare = 0.7;

    // Activations fill a budget up to here: what is needed beside them is foretold to a few per cent, not to the byte.
    private const double FilledShare = 0.95;

    /// <summary>The peak that is to be expected.</summary>
    public long Peak => Needed + Math.Min(StreamBytes, StreamTotal) + Math.Min(KeptBytes, KeptTotal);

    /// <summary>Plans a run.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="options">Budget and batch.</param>
    /// <param name="moments">What calibration collects.</param>
    /// <param name="sequences">The calibration tokens.</param>
    /// <exception cref="ArgumentException">The budget that the options set is too small; names the smallest that works.</exception>
    public static MemoryPlan For(ModelConfiguration configuration, ModelPrunerOptions options, ActivationMoments moments, IReadOnlyList<int[]> sequences)
    {
        bool two = moments.HasFlag(ActivationMoments.CrossMoment) && options.Calibration == CalibrationMode.Sequential;
        int longest = sequences.Max(sequence => sequence.Length);
        long tokens = sequences.Sum(sequence => (long)sequence.Length);
        long streams = (two ? 2L : 1) * tokens * configuration.HiddenSize * sizeof(float);
        long kept = (two ? 2L : 1) * tokens * ModelShapes.Linears(configuration).Where(linear => EndsHalf(linear) && linear.Expert is null).Max(linear => linear.Columns) * sizeof(float);

        // Another batch gives other roundings: only a budget that the user has set may change it, never the machine's state.
        int batch = options.TokensPerBatch;
        long needed = NeededFor(configuration, moments, two, options.Pruner.UsesGradients, BatchTokens(batch));
        if (options.MemoryBudget is { } set)
        {
            while (needed > set && batch > longest)
            {
                batch = Math.Max(longest, batch / 2);
                needed = NeededFor(configuration, moments, two, options.Pruner.UsesGradients, BatchTokens(batch));
            }

            if (needed > set)
            {
                throw new ArgumentException(
                    $"{nameof(ModelPrunerOptions.MemoryBudget)} must be at least {needed} bytes ({needed / 1e9:0.0} GB) for this model and calibration; found {set}.",
                    nameof(options));
            }
        }

        long budget = options.MemoryBudget ?? Math.Max(needed, (long)(DefaultShare * MachineMemory.Available()));
        long spare = Math.Max(0, (long)(FilledShare * budget) - needed);
        long streamBytes = Math.Min(streams, spare);
        return new MemoryPlan(budget, needed, streamBytes, Math.Min(kept, spare - streamBytes), streams, kept, batch);

        long BatchTokens(int tokensPerBatch) => Math.Max(longest, Math.Min(tokensPerBatch, tokens));
    }

    private static bool EndsHalf(LinearDescription linear) => linear.Group is LinearGroup.AttentionOutput or LinearGroup.MlpOutput;

    // The widest point of a layer: the largest over its groups of what stays plus what comes and goes.
    private static long NeededFor(ModelConfiguration configuration, ActivationMoments moments, bool two, bool gradients, long batchTokens)
    {
        IReadOnlyList<LinearDescription> linears = ModelShapes.Linears(configuration);
        long widest = gradients ? WidestOfGradients(configuration, linears, Math.Max(1, batchTokens / 2)) : 0;
        foreach (var group in linears.GroupBy(linear => linear.Group))
        {
            LinearDescription first = group.First();
            long columns = first.Columns;
            long largest = group.Max(Elements) * sizeof(float);

            // The dense layer's weights, and copies of those that are pruned already; a group that ends a half has the half's inputs, not its weights.
            LinearDescription[] half = [.. linears.Where(linear => IsAttention(linear) == IsAttention(first))];
            LinearDescription[] before = [.. half.TakeWhile(linear => linear != group.Last())];
            long collecting = sizeof(float) * ((IsAttention(first) ? linears : half).Sum(Elements) + (two ? before.Sum(Elements) : 0));
            long pruning = collecting;
            if (EndsHalf(first) && first.Expert is null)
            {
                pruning -= (two ? 2 : 1) * sizeof(float) * half.Where(linear => linear.Group != group.Key).Sum(Elements);
            }

            long square = columns * columns * (ActivationAccumulator.TypeOfSums(columns) == TorchSharp.torch.float64 ? sizeof(double) : sizeof(float));
            long hessian = moments == ActivationMoments.Diagonal ? 0 : square * (first.Expert is null ? 1 : 2);
            long cross = two ? hessian : 0;
            long residual = two && moments.HasFlag(ActivationMoments.ResidualMoment) && CalibrationWalk.WritesToStream(configuration, group.Key) ? largest : 0;

            long forward = sizeof(float) * batchTokens * (group.Key switch
            {
                LinearGroup.AttentionOutput => (8L * configuration.QuerySize) + configuration.HiddenSize,
                LinearGroup.MlpOutput => (4L * configuration.IntermediateSize) + (3L * configuration.HiddenSize) + (two ? columns : 0),
                _ => 5L * configuration.HiddenSize,
            });
            long strips = 12 * Math.Min(columns, 1024) * columns;
            widest = Math.Max(widest, collecting + hessian + cross + (2 * residual) + forward + strips);

            long target = two ? (columns * columns * sizeof(double)) + largest + (4 * 1024 * columns * sizeof(double)) : 0;
            long loss = (moments == ActivationMoments.Diagonal ? 0 : columns * columns * sizeof(float)) + (WeightsInFlight * largest);
            long afterTarget = group.Count(linear => linear.Expert is null or 0) == 1 ? 0 : cross;
            widest = Math.Max(widest, pruning + hessian + residual + Math.Max(cross + target, afterTarget + loss));
        }

        return Runtime + (long)(Slack * widest) + Math.Min(MostRetained, 2 * widest);
    }

    // The backward pass of a layer, with what its forward pass leaves, or the head with some rows of logits.
    private static long WidestOfGradients(ModelConfiguration configuration, IReadOnlyList<LinearDescription> linears, long batchTokens)
    {
        long perToken = (8L * configuration.HiddenSize) + (6L * configuration.QuerySize) + (6L * configuration.IntermediateSize);
        long layer = linears.Sum(Elements) + (batchTokens * perToken);
        long head = configuration.VocabularySize * (configuration.HiddenSize + (9L * GradientWalk.LogitRows));
        return sizeof(float) * Math.Max(layer, head);
    }

    private static bool IsAttention(LinearDescription linear) => linear.Group is LinearGroup.AttentionInput or LinearGroup.AttentionOutput;

    private static long Elements(LinearDescription linear) => (long)linear.Rows * linear.Columns;
}
