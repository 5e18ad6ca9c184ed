using Armor.Core.Calibration.Channels;
using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>A checkpoint of which only the part at work is in memory: the embedding, or one decoder layer. Computes in float32.</summary>
internal sealed class LayerwiseModel : IDisposable
{
    private readonly CheckpointFolder checkpoint;
    private readonly RotaryEmbedding rotary;
    private readonly IReadOnlySet<string>? absent;
    private readonly ChannelOrders? orders;

    /// <summary>Opens nothing yet.</summary>
    /// <param name="checkpoint">Holds the weights; stays the caller's.</param>
    /// <param name="configuration">Of the same model.</param>
    /// <param name="absent">Tensors that the checkpoint does not hold as such: zeros that take no memory stand in their place.</param>
    /// <param name="orders">Reorders every layer's inner channels; null leaves them as they are.</param>
    public LayerwiseModel(
        CheckpointFolder checkpoint, ModelConfiguration configuration, IReadOnlySet<string>? absent = null, ChannelOrders? orders = null)
    {
        this.checkpoint = checkpoint;
        this.absent = absent;
        this.orders = orders;
        Configuration = configuration;
        rotary = new RotaryEmbedding(configuration);
    }

    /// <summary>The model's sizes.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>Checks that the checkpoint has every tensor in its shape and no other, and that all values are finite. Holds a piece of a tensor at a time.</summary>
    /// <param name="cancellationToken">Stops between tensors.</param>
    /// <exception cref="CheckpointException">Names the tensor, what was expected and what was found.</exception>
    public void Verify(CancellationToken cancellationToken)
    {
        CheckpointVerification.Verify(checkpoint);
        var buffer = new float[TensorMemory.PieceBytes / sizeof(float)];
        foreach (TensorShape shape in ModelShapes.Enumerate(Configuration))
        {
            foreach ((long first, int count) in TensorMemory.Pieces(shape.ElementCount))
            {
                cancellationToken.ThrowIfCancellationRequested();
                checkpoint.ReadFiniteFloat32(shape.Name, first, buffer.AsSpan(0, count));
            }
        }
    }

    /// <summary>Looks tokens up; reads their rows of the embedding and no other.</summary>
    /// <param name="tokens">int64 [sequences, length], on the CPU.</param>
    /// <returns>[sequences, length, hidden], in the caller's dispose scope.</returns>
    public Tensor Embed(Tensor tokens)
    {
        using var scope = NewDisposeScope();
        long[] ids = tokens.contiguous().data<long>().ToArray();
        int hidden = Configuration.HiddenSize;
        Tensor rows = empty([ids.Length, hidden], float32);
        for (int row = 0; row < ids.Length; row++)
        {
            checkpoint.ReadFiniteFloat32(ModelShapes.Embedding, ids[row] * hidden, TensorMemory.Floats(rows, (long)row * hidden, hidden));
        }

        return TokenEmbedding.Scale(rows.view([.. tokens.shape, hidden]), Configuration).MoveToOuterDisposeScope();
    }

    /// <summary>Reads one decoder layer; each call gives a layer with weights of its own.</summary>
    /// <param name="index">From 0.</param>
    public LoadedLayer LoadLayer(int index)
    {
        using var scope = NewDisposeScope();
        string prefix = ModelShapes.LayerPrefix(index);
        Dictionary<string, Tensor> tensors = ModelShapes.EnumerateLayer(Configuration)
            .ToDictionary(shape => shape.Name, shape => Load(shape with { Name = prefix + shape.Name }), StringComparer.Ordinal);
        orders?.Apply(index, tensors);
        var weights = new Dictionary<string, Parameter>(StringComparer.Ordinal);
        foreach ((string name, Tensor values) in tensors)
        {
            weights.Add(name, new Parameter(values, requires_grad: false));
        }

        return Own(index, weights);
    }

    /// <summary>A second layer on the same weights, until one of the two gets others: see <see cref="DecoderLayer.PutLinearWeight"/>.</summary>
    /// <param name="layer">A layer of this model; either may be freed first.</param>
    public LoadedLayer Share(LoadedLayer layer)
    {
        using var scope = NewDisposeScope();
        return Own(
            layer.Layer.Index,
            layer.Layer.Weights.ToDictionary(weight => weight.Key, weight => new Parameter(weight.Value.alias(), requires_grad: false), StringComparer.Ordinal));
    }

    /// <summary>Reads the final norm and the head.</summary>
    public LoadedHead LoadHead()
    {
        using var scope = NewDisposeScope();
        string name = Configuration.TieWordEmbeddings ? ModelShapes.Embedding : ModelShapes.Head;
        Tensor head = Load(new TensorShape(name, [Configuration.VocabularySize, Configuration.HiddenSize]));
        Tensor norm = Load(new TensorShape(ModelShapes.FinalNorm, [Configuration.HiddenSize]));
        return new LoadedHead(Configuration, norm.DetachFromDisposeScope(), head.DetachFromDisposeScope());
    }

    /// <inheritdoc/>
    public void Dispose() => rotary.Dispose();

    private LoadedLayer Own(int index, Dictionary<string, Parameter> weights)
    {
        foreach (Parameter weight in weights.Values)
        {
            weight.DetachFromDisposeScope();
        }

        return new LoadedLayer(new DecoderLayer(Configuration, index, rotary, weights));
    }

    private Tensor Load(TensorShape shape)
    {
        if (absent?.Contains(shape.Name) == true)
        {
            return zeros(1).expand([.. shape.Shape]);
        }

        Tensor values = empty([.. shape.Shape], float32);
        foreach ((long first, int count) in TensorMemory.Pieces(shape.ElementCount))
        {
            checkpoint.ReadFiniteFloat32(shape.Name, first, TensorMemory.Floats(values, first, count));
        }

        return values;
    }
}

/// <summary>A decoder layer that owns its weights.</summary>
internal sealed class LoadedLayer(DecoderLayer layer) : IDisposable
{
    /// <summary>The layer.</summary>
    public DecoderLayer Layer { get; } = layer;

    /// <summary>Frees the weights of a group's linears: nothing reads them any more.</summary>
    public void Release(LinearGroup group)
    {
        foreach (LinearDescription linear in Layer.Linears.Where(linear => linear.Group == group))
        {
            Layer.GetLinearWeight(linear.Name).Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Parameter weight in Layer.Weights.Values)
        {
            weight.Dispose();
        }
    }
}

/// <summary>The final norm and the head, which owns its weights.</summary>
internal sealed class LoadedHead(ModelConfiguration configuration, Tensor norm, Tensor head) : IDisposable
{
    /// <summary>From the residual stream after the last layer, [..., hidden], to logits, [..., vocabulary].</summary>
    public Tensor Apply(Tensor hidden) => LanguageModelHead.Apply(configuration, hidden, norm, head, hidden.dtype);

    /// <inheritdoc/>
    public void Dispose()
    {
        norm.Dispose();
        head.Dispose();
    }
}
