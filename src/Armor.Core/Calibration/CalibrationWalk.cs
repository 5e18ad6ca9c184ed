using Armor.Core.Calibration.Streams;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// Leads the calibration tokens through a model, one group of linears after the other. It keeps the residual stream of every batch, float32
/// [sequences, length, hidden], in memory or in files; all else is computed batch by batch and dropped, but for the inputs of one group where there
/// is room. Where the mode is sequential, activations come from the weights put in by <see cref="Replace"/>; for the cross moment a second stream of
/// the dense model runs beside. Neither where something is kept nor a resumption changes any result.
/// </summary>
internal sealed partial class CalibrationWalk : IDisposable
{
    private const string Pruned = "pruned";
    private const string Dense = "dense";

    private readonly LayerwiseModel model;
    private readonly IReadOnlyList<CalibrationBatch> batches;
    private readonly CalibrationMode mode;
    private readonly WalkStorage storage;
    private readonly StreamFolder? folder;
    private readonly ResidualStream stream;
    private readonly ResidualStream? denseStream;
    private BatchStore? kept;
    private BatchStore? denseKept;
    private LinearGroup keptGroup;
    private LoadedLayer? layer;
    private LoadedLayer? denseLayer;

    /// <summary>Begins before the first layer, or at the boundary that an earlier walk has left in the storage's folder.</summary>
    /// <param name="model">The dense model; stays the caller's.</param>
    /// <param name="batches">The tokens; stay the caller's.</param>
    /// <param name="mode">Whose activations are measured.</param>
    /// <param name="crossMoment">Whether to run the dense stream beside the pruned one.</param>
    /// <param name="storage">Where activations are kept; all in memory where null.</param>
    /// <param name="lastStart">The last layer at which the walk may begin.</param>
    /// <param name="cancellationToken">Stops the check of what an earlier walk has left.</param>
    public CalibrationWalk(
        LayerwiseModel model,
        IReadOnlyList<CalibrationBatch> batches,
        CalibrationMode mode,
        bool crossMoment,
        WalkStorage? storage = null,
        int lastStart = 0,
        CancellationToken cancellationToken = default)
    {
        this.model = model;
        this.batches = batches;
        this.mode = mode;
        this.storage = storage ?? WalkStorage.Memory;
        folder = this.storage.Folder is { } path ? new StreamFolder(path) : null;
        bool two = crossMoment && mode == CalibrationMode.Sequential;
        stream = NewStream(Pruned, two ? 2 : 1);
        denseStream = two ? NewStream(Dense, 2) : null;
        try
        {
            FirstLayer = Resume(lastStart, cancellationToken);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The layer at which the walk begins.</summary>
    public int FirstLayer { get; }

    /// <summary>Makes the streams before the first layer at once, not whenever they are read: what then follows takes as long as in any layer.</summary>
    internal void Embed()
    {
        for (int batch = 0; batch < batches.Count; batch++)
        {
            using var scope = NewDisposeScope();
            stream.Store(batch, stream.Load(batch));
            denseStream?.Store(batch, denseStream.Load(batch));
        }
    }

    /// <summary>Loads a decoder layer; layers come in order.</summary>
    /// <param name="index">From 0.</param>
    public void EnterLayer(int index)
    {
        LeaveLayer();
        DropKept();
        layer = model.LoadLayer(index);
        denseLayer = denseStream is null ? layer : model.Share(layer);
    }

    /// <summary>
    /// Leaves the layer once its last group is passed, and makes the boundary after it the one from which a later walk can go on; without effect where
    /// everything is in memory.
    /// </summary>
    /// <param name="index">The layer.</param>
    public void CompleteLayer(int index)
    {
        LeaveLayer();
        if (folder is null)
        {
            return;
        }

        var hashes = new Dictionary<string, string[]> { [Pruned] = [.. stream.Complete()] };
        if (denseStream is not null)
        {
            hashes.Add(Dense, [.. denseStream.Complete()]);
        }

        folder.Write(index + 1, hashes);
        stream.Pass(index + 1);
        denseStream?.Pass(index + 1);
    }

    /// <summary>The dense weight of a linear that has not been replaced yet, float32 [d_out, d_in]; stays the walk's.</summary>
    /// <param name="linear">The name within the layer.</param>
    public Tensor DenseWeight(string linear) => Current(denseLayer).GetLinearWeight(linear);

    /// <summary>Measures the input that a group's linears share.</summary>
    /// <param name="group">The group.</param>
    /// <param name="expert">The expert that it belongs to; null for attention and for an MLP.</param>
    /// <param name="moments">What to collect; a cross moment only where the walk has a dense stream.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    /// <exception cref="CalibrationException">An activation is NaN or infinite.</exception>
    public ActivationStatistics Collect(LinearGroup group, int? expert, ActivationMoments moments, CancellationToken cancellationToken)
    {
        DecoderLayer current = Current(layer);
        LinearDescription[] linears = [.. current.Linears.Where(linear => linear.Group == group && linear.Expert == expert)];
        string name = ModelShapes.LayerPrefix(current.Index) + string.Join("/", linears.Select(linear => linear.Name));
        bool cross = denseStream is not null && moments.HasFlag(ActivationMoments.CrossMoment);
        bool residual = cross && WritesToStream(model.Configuration, group) && moments.HasFlag(ActivationMoments.ResidualMoment);
        moments &= ~((cross ? 0 : ActivationMoments.CrossMoment) | (residual ? 0 : ActivationMoments.ResidualMoment));
        using var noGradients = no_grad();
        if (expert is { } index)
        {
            return CollectExpert(name, group, index, linears[0].Columns, moments, cancellationToken);
        }

        using var accumulator = new ActivationAccumulator(name, linears[0].Columns, moments);
        DropKept();
        keptGroup = group;
        if (EndsHalf(group))
        {
            kept = NewKept("kept-" + Pruned, linears[0].Columns, cross);
            denseKept = cross ? NewKept("kept-" + Dense, linears[0].Columns, cross) : null;
        }

        for (int batch = 0; batch < batches.Count; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor x = stream.Load(batch);
            Tensor? dense = cross ? denseStream!.Load(batch) : null;
            Tensor inputs = Measure(batch, current, x, kept);
            Tensor? denseInputs = dense is null ? null : Measure(batch, Current(denseLayer), dense, denseKept);
            accumulator.Add(inputs, denseInputs, residual ? batches[batch].SelectTokens(dense! - x) : null);
        }

        if (EndsHalf(group) && KeepsAll(kept) && (denseStream is null || KeepsAll(denseKept)))
        {
            // The inputs are never computed again.
            Release(Before(group));
        }

        return accumulator.Take();

        Tensor Measure(int batch, DecoderLayer from, Tensor x, BatchStore? store)
        {
            Tensor input = Input(from, group, x);
            store?.Store(batch, input);
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
            if (ReferenceEquals(denseLayer, layer))
            {
                current.SetLinearWeight(linear, weight);
            }
            else
            {
                current.PutLinearWeight(linear, weight.clone());
            }

            if (current.Linears.First(description => description.Name == linear).Group != keptGroup)
            {
                DropKept();
            }
        }
    }

    /// <summary>Moves the residual streams past a group whose linears are all final. Groups come in order.</summary>
    /// <param name="group">The group.</param>
    /// <param name="expert">The expert that it belongs to; the residual streams move past the last one.</param>
    /// <param name="cancellationToken">Stops between batches; the walk is then of no further use.</param>
    public void Pass(LinearGroup group, int? expert, CancellationToken cancellationToken)
    {
        if (!EndsHalf(group) || (expert is { } index && index < model.Configuration.Experts!.Count - 1))
        {
            return;
        }

        Advance(group, dense: false, cancellationToken);
        if (denseStream is not null)
        {
            Advance(group, dense: true, cancellationToken);
        }

        DropKept();
        Release(Before(group));
        Release(group);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        LeaveLayer();
        DropKept();
        stream.Dispose();
        denseStream?.Dispose();
    }

    /// <summary>Whether the outputs of a group's linear are added to the residual stream as they are.</summary>
    internal static bool WritesToStream(ModelConfiguration configuration, LinearGroup group) =>
        !configuration.HasOutputNorms
        && (group == LinearGroup.AttentionOutput || (group == LinearGroup.MlpOutput && configuration.Experts is null));

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

    private bool KeepsAll(BatchStore? store) => store is not null && Enumerable.Range(0, batches.Count).All(store.Keeps);

    private static LinearGroup Before(LinearGroup group) => group == LinearGroup.AttentionOutput ? LinearGroup.AttentionInput : LinearGroup.MlpInput;

    private void Release(LinearGroup group)
    {
        layer?.Release(group);
        if (!ReferenceEquals(denseLayer, layer))
        {
            denseLayer?.Release(group);
        }
    }

    private void Advance(LinearGroup group, bool dense, CancellationToken cancellationToken)
    {
        using var noGradients = no_grad();
        DecoderLayer current = Current(dense ? denseLayer : layer);
        ResidualStream moved = dense ? denseStream! : stream;
        BatchStore? inputs = group != keptGroup ? null : dense ? denseKept : kept;
        for (int batch = 0; batch < batches.Count; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor x = moved.Load(batch);
            if (group == LinearGroup.MlpOutput && model.Configuration.Experts is not null)
            {
                moved.Store(batch, current.AddFeedForward(x));
                continue;
            }

            Tensor input = inputs?.Load(batch) ?? Input(current, group, x);
            moved.Store(batch, group == LinearGroup.AttentionOutput ? current.AddAttention(x, input) : current.AddMlp(x, input));
        }
    }

    private int Resume(int lastStart, CancellationToken cancellationToken)
    {
        if (folder is null)
        {
            return 0;
        }

        if (folder.Read() is { } boundary && boundary.Layer <= lastStart
            && TryResume(stream, Pruned) && (denseStream is null || TryResume(denseStream, Dense)))
        {
            folder.ClearAllBut(boundary.Layer, boundary.Hashes.Keys);
            return boundary.Layer;
        }

        stream.Restart();
        denseStream?.Restart();
        folder.Clear();
        return 0;

        bool TryResume(ResidualStream which, string name) =>
            boundary.Hashes.TryGetValue(name, out string[]? hashes) && which.TryResume(boundary.Layer, hashes, cancellationToken);
    }

    private ResidualStream NewStream(string name, int count) =>
        new(
            Shapes(model.Configuration.HiddenSize),
            storage.StreamBytes / count,
            folder is null ? null : layerIndex => folder.FileOf(name, layerIndex),
            batch => model.Embed(batches[batch].Tokens));

    private BatchStore NewKept(string name, int columns, bool two) =>
        new(Shapes(columns), storage.KeptBytes / (two ? 2 : 1), folder is not null && storage.SpillKept ? folder.FileOf(name, 0) : null);

    private long[][] Shapes(int width) => [.. batches.Select(batch => (long[])[.. batch.Tokens.shape, width])];

    private void DropKept()
    {
        kept?.Clear();
        denseKept?.Clear();
        kept = denseKept = null;
    }

    private void LeaveLayer()
    {
        DropRoutes();
        if (!ReferenceEquals(denseLayer, layer))
        {
            denseLayer?.Dispose();
        }

        layer?.Dispose();
        layer = denseLayer = null;
    }
}
