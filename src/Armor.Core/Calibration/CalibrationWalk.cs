using Armor.Core.Modules;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// Leads the calibration tokens through a model, one group of linears after the other. It keeps the residual stream of every batch, float32
/// [sequences, length, hidden]; all else is computed batch by batch and dropped, but for the inputs of one group where they are small. Where
/// the mode is sequential, activations come from the
/// weights put in by <see cref="Replace"/>; for the cross moment a second stream of the dense model runs beside.
/// </summary>
internal sealed class CalibrationWalk : IDisposable
{
    /// <summary>What the inputs of one group may take in memory, so that they need not be computed twice.</summary>
    internal const long DefaultKeptBytes = 1L << 29;

    private readonly LayerwiseModel model;
    private readonly IReadOnlyList<CalibrationBatch> batches;
    private readonly CalibrationMode mode;
    private readonly Tensor[] stream;
    private readonly Tensor[]? denseStream;
    private readonly long keptBytes;
    private readonly Dictionary<(int Batch, bool Dense), Tensor> kept = [];
    private LinearGroup keptGroup;
    private LoadedLayer? layer;
    private LoadedLayer? denseLayer;

    /// <summary>Embeds the tokens.</summary>
    /// <param name="model">The dense model; stays the caller's.</param>
    /// <param name="batches">The tokens; stay the caller's.</param>
    /// <param name="mode">Whose activations are measured.</param>
    /// <param name="crossMoment">Whether to run the dense stream beside the pruned one.</param>
    /// <param name="keptBytes">See <see cref="DefaultKeptBytes"/>; without effect on any result.</param>
    public CalibrationWalk(
        LayerwiseModel model,
        IReadOnlyList<CalibrationBatch> batches,
        CalibrationMode mode,
        bool crossMoment,
        long keptBytes = DefaultKeptBytes)
    {
        this.keptBytes = keptBytes;
        this.model = model;
        this.batches = batches;
        this.mode = mode;
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        stream = [.. model.Embed([.. batches.Select(batch => batch.Tokens)]).Select(x => x.DetachFromDisposeScope())];
        if (crossMoment && mode == CalibrationMode.Sequential)
        {
            denseStream = [.. stream.Select(x => x.alias().DetachFromDisposeScope())];
        }
    }

    /// <summary>Loads a decoder layer; layers come in order.</summary>
    /// <param name="index">From 0.</param>
    public void EnterLayer(int index)
    {
        LeaveLayer();
        DropKept();
        layer = model.LoadLayer(index);
        denseLayer = denseStream is null ? layer : model.LoadLayer(index);
    }

    /// <summary>The dense weight of a linear that has not been replaced yet, float32 [d_out, d_in]; stays the walk's.</summary>
    /// <param name="linear">The name within the layer.</param>
    public Tensor DenseWeight(string linear) => Current(denseLayer).GetLinearWeight(linear);

    /// <summary>Measures the input that a group's linears share.</summary>
    /// <param name="group">The group.</param>
    /// <param name="moments">What to collect; a cross moment only where the walk has a dense stream.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="CalibrationException">An activation is NaN or infinite.</exception>
    public ActivationStatistics Collect(LinearGroup group, ActivationMoments moments, CancellationToken cancellationToken)
    {
        DecoderLayer current = Current(layer);
        LinearDescription[] linears = [.. current.Linears.Where(linear => linear.Group == group)];
        string name = ModelShapes.LayerPrefix(current.Index) + string.Join("/", linears.Select(linear => linear.Name));
        bool cross = denseStream is not null && moments.HasFlag(ActivationMoments.CrossMoment);
        using var accumulator = new ActivationAccumulator(name, linears[0].Columns, cross ? moments : moments & ~ActivationMoments.CrossMoment);
        using var noGradients = no_grad();
        DropKept();
        keptGroup = group;
        long size = stream.Sum(x => x.shape[0] * x.shape[1]) * linears[0].Columns * sizeof(float) * (cross ? 2 : 1);
        bool keep = EndsHalf(group) && size <= keptBytes;
        for (int batch = 0; batch < batches.Count; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor inputs = Measure(batch, dense: false);
            Tensor? denseInputs = cross ? Measure(batch, dense: true) : null;
            accumulator.Add(inputs, denseInputs);
        }

        return accumulator.Build();

        Tensor Measure(int batch, bool dense)
        {
            Tensor input = dense ? Input(Current(denseLayer), group, denseStream![batch]) : Input(current, group, stream[batch]);
            if (keep)
            {
                kept.Add((batch, dense), input.DetachFromDisposeScope());
            }

            return batches[batch].SelectTokens(input);
        }
    }

    /// <summary>Puts a pruned weight in the place of the dense one, for all activations measured from now on; without effect in dense mode.</summary>
    /// <param name="linear">The name within the layer.</param>
    /// <param name="weight">[d_out, d_in]; stays the caller's.</param>
    public void Replace(string linear, Tensor weight)
    {
        if (mode == CalibrationMode.Sequential)
        {
            DecoderLayer current = Current(layer);
            current.SetLinearWeight(linear, weight);
            if (current.Linears.First(description => description.Name == linear).Group != keptGroup)
            {
                DropKept();
            }
        }
    }

    /// <summary>Moves the residual streams past a group whose linears are all final. Groups come in order.</summary>
    /// <param name="group">The group.</param>
    /// <param name="cancellationToken">Stops between batches; the walk is then of no further use.</param>
    public void Pass(LinearGroup group, CancellationToken cancellationToken)
    {
        if (!EndsHalf(group))
        {
            return;
        }

        Advance(group, dense: false, cancellationToken);
        if (denseStream is not null)
        {
            Advance(group, dense: true, cancellationToken);
        }

        DropKept();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        LeaveLayer();
        DropKept();
        foreach (Tensor x in stream.Concat(denseStream ?? []))
        {
            x.Dispose();
        }
    }

    private static DecoderLayer Current(LoadedLayer? loaded) =>
        loaded?.Layer ?? throw new InvalidOperationException("The walk has not entered a layer.");

    private static Tensor Input(DecoderLayer layer, LinearGroup group, Tensor x) => group switch
    {
        LinearGroup.AttentionInput => layer.AttentionInput(x),
        LinearGroup.AttentionOutput => layer.AttentionContext(layer.AttentionInput(x)),
        LinearGroup.MlpInput => layer.MlpInput(x),
        LinearGroup.MlpOutput => layer.MlpActivation(layer.MlpInput(x)),
        _ => throw new ArgumentOutOfRangeException(nameof(group), group, "Unknown group of linears."),
    };

    // The groups after which something is added to the residual stream.
    private static bool EndsHalf(LinearGroup group) => group is LinearGroup.AttentionOutput or LinearGroup.MlpOutput;

    private void Advance(LinearGroup group, bool dense, CancellationToken cancellationToken)
    {
        using var noGradients = no_grad();
        DecoderLayer current = Current(dense ? denseLayer : layer);
        Tensor[] moved = dense ? denseStream! : stream;
        for (int batch = 0; batch < moved.Length; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor x = moved[batch];
            Tensor input = group == keptGroup && kept.TryGetValue((batch, dense), out Tensor? found) ? found : Input(current, group, x);
            Tensor next = group == LinearGroup.AttentionOutput ? current.AddAttention(x, input) : current.AddMlp(x, input);
            moved[batch] = next.DetachFromDisposeScope();
            x.Dispose();
        }
    }

    private void DropKept()
    {
        foreach (Tensor input in kept.Values)
        {
            input.Dispose();
        }

        kept.Clear();
    }

    private void LeaveLayer()
    {
        if (!ReferenceEquals(denseLayer, layer))
        {
            denseLayer?.Dispose();
        }

        layer?.Dispose();
        layer = denseLayer = null;
    }
}
