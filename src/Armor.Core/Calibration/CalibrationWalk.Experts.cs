using System.Globalization;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// The inputs of one expert's linears. They run over the tokens that the router sends through the expert, each weighted by the square of the share
/// that it takes of the expert's output: an error of the expert reaches the residual stream times that share. Routers stay dense, but their inputs
/// do not: where two streams run, the pruned one's routing decides for both, so that a weight aims at what the dense expert makes of the dense model's
/// activation at the same token. An expert that has seen too few tokens is filled up with the layer's statistics.
/// </summary>
internal sealed partial class CalibrationWalk
{
    /// <summary>Tokens for each input dimension below which an expert's own statistics do not stand alone: twice what H needs for its full rank.</summary>
    internal const int TokensPerInput = 2;

    private ExpertRouting[]? routes;
    private ActivationStatistics? allTokens;

    private ActivationStatistics CollectExpert(
        string name, LinearGroup group, int expert, int columns, ActivationMoments moments, CancellationToken cancellationToken)
    {
        routes ??= Route(cancellationToken);
        long count = routes.Sum(route => route.CountOf(expert));
        long wanted = (long)TokensPerInput * columns;
        if (count >= wanted)
        {
            (ActivationStatistics own, double factor) = MeasureRouted();
            return ActivationStatistics.Combine(own, factor, null, 0, count, []);
        }

        ActivationStatistics layerWide = group == LinearGroup.MlpInput ? allTokens ??= MeasureAll() : MeasureAll();
        long tokens = Math.Max(count, Math.Min(wanted, layerWide.TokenCount));
        string note = string.Create(
            CultureInfo.InvariantCulture,
            $"expert {expert} saw {count} of the {wanted} tokens wanted; {(group == LinearGroup.MlpInput ? "the layer's statistics fill" : "its activations on all tokens of the layer fill")} the rest");
        try
        {
            if (count == 0)
            {
                return layerWide.Clone(tokens, [note]);
            }

            (ActivationStatistics own, double factor) = MeasureRouted();
            double share = (double)count / wanted;
            return ActivationStatistics.Combine(own, factor * share, layerWide, 1 - share, tokens, [note]);
        }
        finally
        {
            if (layerWide != allTokens)
            {
                layerWide.Dispose();
            }
        }

        // The factor turns a mean over tokens of weighted squares into a weighted mean.
        (ActivationStatistics Own, double Factor) MeasureRouted()
        {
            using var accumulator = new ActivationAccumulator(name, columns, moments);
            double squares = 0;
            for (int batch = 0; batch < batches.Count; batch++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (routes[batch].CountOf(expert) == 0)
                {
                    continue;
                }

                using var scope = NewDisposeScope();
                Tensor rows = routes[batch].TokensOf(expert);
                Tensor weights = routes[batch].WeightsOf(expert).unsqueeze(1);
                squares += weights.to(float64).Squared().sum().item<double>();
                Add(accumulator, batch, tokens => tokens.index_select(0, rows), input => input * weights);
            }

            // Weights that all underflow leave nothing to scale.
            return (accumulator.Take(), squares > 0 ? count / squares : 1);
        }

        ActivationStatistics MeasureAll()
        {
            using var accumulator = new ActivationAccumulator(name, columns, moments);
            for (int batch = 0; batch < batches.Count; batch++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                Add(accumulator, batch, tokens => tokens, input => input);
            }

            return accumulator.Take();
        }

        void Add(ActivationAccumulator accumulator, int batch, Func<Tensor, Tensor> select, Func<Tensor, Tensor> weigh)
        {
            Tensor? dense = moments.HasFlag(ActivationMoments.CrossMoment) ? Measure(Current(denseLayer), denseStream!.Load(batch)) : null;
            accumulator.Add(Measure(Current(layer), stream.Load(batch)), dense);

            Tensor Measure(DecoderLayer current, Tensor x)
            {
                Tensor input = current.MlpInput(select(batches[batch].SelectTokens(x)));
                return weigh(group == LinearGroup.MlpInput ? input : current.GatedActivation(input, expert));
            }
        }
    }

    /// <summary>Which expert each token of each batch goes through: the same for all experts of a layer.</summary>
    private ExpertRouting[] Route(CancellationToken cancellationToken)
    {
        DecoderLayer current = Current(layer);
        var found = new List<ExpertRouting>();
        try
        {
            for (int batch = 0; batch < batches.Count; batch++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                found.Add(current.Route(current.MlpInput(batches[batch].SelectTokens(stream.Load(batch)))).Detach());
            }
        }
        catch
        {
            found.ForEach(route => route.Dispose());
            throw;
        }

        return [.. found];
    }

    private void DropRoutes()
    {
        foreach (ExpertRouting route in routes ?? [])
        {
            route.Dispose();
        }

        routes = null;
        allTokens?.Dispose();
        allTokens = null;
    }
}
