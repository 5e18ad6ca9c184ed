using Armor.Core.Calibration;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// Trains all factors together by KL(dense‖pruned) over every token. The dense model computes its side anew for each batch; of the held-out sequences
/// its residual stream after the last layer is kept.
/// </summary>
internal sealed class EndToEndRecovery : IDisposable
{
    private readonly CausalLanguageModel dense;
    private readonly CausalLanguageModel pruned;
    private readonly DistillationLoss loss;
    private readonly RecoveryData data;
    private readonly RecoveryOptions options;
    private readonly CancellationToken cancellationToken;
    private readonly List<Tensor> denseHeldOut = [];

    /// <summary>Puts the factors in the pruned model's linears.</summary>
    /// <param name="dense">The dense model; stays the caller's.</param>
    /// <param name="pruned">The pruned model; stays the caller's.</param>
    /// <param name="layers">The pruned linears.</param>
    /// <param name="data">The sequences.</param>
    /// <param name="options">How.</param>
    /// <param name="cancellationToken">Stops between layers.</param>
    public EndToEndRecovery(
        CausalLanguageModel dense,
        CausalLanguageModel pruned,
        IReadOnlyList<KeyValuePair<string, ArmorLayer>> layers,
        RecoveryData data,
        RecoveryOptions options,
        CancellationToken cancellationToken)
    {
        this.dense = dense;
        this.pruned = pruned;
        this.data = data;
        this.options = options;
        this.cancellationToken = cancellationToken;
        loss = new DistillationLoss(dense, pruned);
        Factors = new TrainableFactors(layers);
        foreach (DecoderLayer layer in pruned.Layers)
        {
            TrainableLayer.Install(layer, Factors);
        }
    }

    /// <summary>The parameters.</summary>
    public TrainableFactors Factors { get; }

    /// <summary>Adds a step's gradients; returns the mean KL of its tokens.</summary>
    /// <param name="step">From 0.</param>
    public double Accumulate(int step)
    {
        IReadOnlyList<CalibrationBatch> batches = data.Batches(step);
        try
        {
            long tokens = batches.Sum(batch => batch.TokenCount);
            double sum = 0;
            foreach (CalibrationBatch batch in batches)
            {
                using var scope = NewDisposeScope();
                Tensor target = dense.RunLayers(batch.Tokens, cancellationToken);
                var stack = new LayerStack(pruned, batch.Tokens, Recomputes(batch), cancellationToken);
                (double part, Tensor gradient) = loss.Backward(target, stack.Hidden, batch, 1.0 / tokens);
                stack.Backward(gradient, cancellationToken);
                sum += part;
            }

            return sum / tokens;
        }
        finally
        {
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }
    }

    /// <summary>The mean KL of the held-out tokens.</summary>
    public double Measure()
    {
        double sum = 0;
        for (int i = 0; i < data.HeldOut.Count; i++)
        {
            using var scope = NewDisposeScope();
            CalibrationBatch batch = data.HeldOut[i];
            if (i == denseHeldOut.Count)
            {
                denseHeldOut.Add(dense.RunLayers(batch.Tokens, cancellationToken).DetachFromDisposeScope());
            }

            sum += loss.Sum(denseHeldOut[i], pruned.RunLayers(batch.Tokens, cancellationToken), batch);
        }

        return sum / data.HeldOutTokens;
    }

    /// <summary>Frees the factors and the held-out streams.</summary>
    public void Dispose()
    {
        foreach (Tensor hidden in denseHeldOut)
        {
            hidden.Dispose();
        }

        Factors.Dispose();
    }

    // What autograd keeps of a layer: about ten vectors of the residual stream's width, six of the MLP's and four of the heads' for each token.
    private bool Recomputes(CalibrationBatch batch)
    {
        ModelConfiguration configuration = pruned.Configuration;
        long perToken = (10L * configuration.HiddenSize) + (6L * configuration.IntermediateSize) + (4L * (configuration.QuerySize + (2L * configuration.KeyValueSize)));
        return batch.Tokens.numel() * perToken * configuration.LayerCount * sizeof(float) > options.ActivationBytes;
    }
}
