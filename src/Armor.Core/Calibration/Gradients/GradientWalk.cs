using Armor.Core.Calibration.Streams;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Gradients;

/// <summary>
/// One pass forward and one back through the dense model, a layer at a time, which leaves the second moment of the loss's gradients at every linear's
/// output. The loss is the negative log-likelihood of one label a token, drawn from the model's own prediction, summed over the tokens: its gradients'
/// second moment is the Fisher information. Residual streams at all layer boundaries are kept, in memory or in files.
/// </summary>
internal sealed class GradientWalk
{
    /// <summary>Rows of logits that are made at once.</summary>
    internal const int LogitRows = 512;

    private readonly LayerwiseModel model;
    private readonly IReadOnlyList<CalibrationBatch> batches;
    private readonly long[][] shapes;
    private readonly ulong seed;
    private readonly int layers;

    /// <summary>Sets up a pass.</summary>
    /// <param name="model">The dense model; stays the caller's.</param>
    /// <param name="batches">The tokens; stay the caller's.</param>
    /// <param name="seed">Of the labels.</param>
    /// <param name="layers">How many layers stand before the head; all of the model's where null. Fewer tell how long a pass takes.</param>
    public GradientWalk(LayerwiseModel model, IReadOnlyList<CalibrationBatch> batches, ulong seed, int? layers = null)
    {
        this.layers = layers ?? model.Configuration.LayerCount;
        this.model = model;
        this.batches = batches;
        this.seed = seed;
        shapes = [.. batches.Select(batch => (long[])[.. batch.Tokens.shape, model.Configuration.HiddenSize])];
    }

    /// <summary>Does the pass.</summary>
    /// <param name="results">Gets the statistics of each linear by its whole name, layer by layer from the last; owns them.</param>
    /// <param name="folder">Where streams go that do not fit in memory; need not exist, is left empty.</param>
    /// <param name="memoryBytes">What the streams may take in memory.</param>
    /// <param name="enterLayer">Told of each layer that is entered, forward and back, and between them of the head by the number of layers.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="CalibrationException">A gradient is NaN or infinite.</exception>
    public void Run(
        Action<string, GradientStatistics> results, string folder, long memoryBytes, Action<int>? enterLayer, CancellationToken cancellationToken)
    {
        BatchStore[] boundaries = [.. Enumerable.Range(0, layers + 1).Select(boundary =>
            new BatchStore(shapes, memoryBytes / (layers + 2), Path.Combine(folder, FormattableString.Invariant($"boundary.{boundary:00000}.f32"))))];
        var gradients = new BatchStore(shapes, memoryBytes / (layers + 2), Path.Combine(folder, "gradient.f32"));
        try
        {
            Forward(boundaries, enterLayer, cancellationToken);
            enterLayer?.Invoke(layers);
            Differentiate(boundaries[layers], gradients, cancellationToken);
            boundaries[layers].Clear();
            for (int layer = layers - 1; layer >= 0; layer--)
            {
                enterLayer?.Invoke(layer);
                Backward(layer, boundaries[layer], gradients, results, cancellationToken);
                boundaries[layer].Clear();
            }
        }
        finally
        {
            foreach (BatchStore store in boundaries.Append(gradients))
            {
                store.Clear();
                store.Dispose();
            }
        }
    }

    private void Forward(BatchStore[] boundaries, Action<int>? enterLayer, CancellationToken cancellationToken)
    {
        using var noGradients = no_grad();
        for (int batch = 0; batch < batches.Count; batch++)
        {
            using var scope = NewDisposeScope();
            boundaries[0].Store(batch, model.Embed(batches[batch].Tokens));
        }

        for (int layer = 0; layer < layers; layer++)
        {
            enterLayer?.Invoke(layer);
            using LoadedLayer loaded = model.LoadLayer(layer);
            for (int batch = 0; batch < batches.Count; batch++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                boundaries[layer + 1].Store(batch, loaded.Layer.Forward(boundaries[layer].Load(batch)!));
            }
        }
    }

    // The loss's gradients at the residual stream after the last layer.
    private void Differentiate(BatchStore last, BatchStore gradients, CancellationToken cancellationToken)
    {
        using LoadedHead head = model.LoadHead();
        for (int batch = 0; batch < batches.Count; batch++)
        {
            using var scope = NewDisposeScope();
            Tensor x = last.Load(batch)!;
            Tensor rows = batches[batch].SelectTokens(x);
            Tensor own = zeros_like(rows);
            var random = new Random(unchecked((int)Seeds.Mix(seed, (ulong)batch)));
            for (long start = 0; start < rows.shape[0]; start += LogitRows)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var chunkScope = NewDisposeScope();
                long count = Math.Min(LogitRows, rows.shape[0] - start);
                Tensor chunk = rows.narrow(0, start, count).detach().clone().requires_grad_(true);
                Tensor logits = head.Apply(chunk);
                Tensor loss = nn.functional.cross_entropy(logits, Draw(logits.detach(), random), reduction: nn.Reduction.Sum);
                own.narrow(0, start, count).copy_(autograd.grad([loss], [chunk])[0]);
            }

            gradients.Store(batch, batches[batch].PlaceTokens(own).view_as(x));
        }
    }

    private void Backward(
        int layer, BatchStore inputs, BatchStore gradients, Action<string, GradientStatistics> results, CancellationToken cancellationToken)
    {
        string prefix = ModelShapes.LayerPrefix(layer);
        using LoadedLayer loaded = model.LoadLayer(layer);
        Dictionary<string, GradientAccumulator> sums = loaded.Layer.Linears.ToDictionary(
            linear => linear.Name, linear => new GradientAccumulator(prefix + linear.Name, linear.Rows));
        var outputs = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        try
        {
            foreach (LinearDescription linear in loaded.Layer.Linears)
            {
                loaded.Layer.ReplaceLinear(linear.Name, input => Watched(linear.Name, input));
            }

            for (int batch = 0; batch < batches.Count; batch++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                Tensor x = inputs.Load(batch)!.detach().clone().requires_grad_(true);
                Tensor y = loaded.Layer.Forward(x);
                string[] reached = [.. outputs.Where(output => output.Value.numel() > 0).Select(output => output.Key)]; // an expert may have no token
                IList<Tensor> found = autograd.grad([y], [x, .. reached.Select(name => outputs[name])], [gradients.Load(batch)!]);
                gradients.Store(batch, found[0].detach());
                for (int index = 0; index < reached.Length; index++)
                {
                    sums[reached[index]].Add(found[index + 1]);
                }

                Forget();
            }

            long tokens = batches.Sum(batch => batch.TokenCount);
            foreach ((string name, GradientAccumulator sum) in sums)
            {
                using GradientStatistics statistics = sum.Build(tokens);
                results(prefix + name, statistics);
            }
        }
        finally
        {
            Forget();
            foreach (GradientAccumulator sum in sums.Values)
            {
                sum.Dispose();
            }
        }

        Tensor Watched(string name, Tensor input)
        {
            Tensor output = nn.functional.linear(input, loaded.Layer.GetLinearWeight(name));
            outputs.Add(name, output.DetachFromDisposeScope());
            return output.alias();
        }

        void Forget()
        {
            foreach (Tensor output in outputs.Values)
            {
                output.Dispose();
            }

            outputs.Clear();
        }
    }

    // One label a row from softmax(logits), by the inverse of its distribution function.
    internal static Tensor Draw(Tensor logits, Random random)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        var uniform = new double[logits.shape[0]];
        for (int row = 0; row < uniform.Length; row++)
        {
            uniform[row] = random.NextDouble();
        }

        Tensor cumulated = nn.functional.softmax(logits.to(float64), 1).cumsum(1);
        Tensor threshold = tensor(uniform, float64).unsqueeze(1) * cumulated.narrow(1, logits.shape[1] - 1, 1);
        return cumulated.le(threshold).sum(1).MoveToOuterDisposeScope();
    }
}
