using Armor.Runtime.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>
/// A decoder-only language model in TorchSharp, for calibration, evaluation and training. It follows <see cref="ModelShapes"/>; sequences of
/// a batch are padded on the right, which causal attention keeps from the positions before. Not safe for use by several threads at once.
/// </summary>
public sealed partial class CausalLanguageModel : IDisposable
{
    private readonly Dictionary<string, Parameter> _weights = new(StringComparer.Ordinal);
    private readonly RotaryEmbedding _rotary;
    private readonly List<DecoderLayer> _layers = [];
    private ScalarType? _computeType;

    /// <summary>
    /// Creates a model with random weights: normal with deviation 0.02, for the linears that add to the residual stream
    /// 0.02/√(2·layers), as GPT-2 does; norms one, biases zero.
    /// </summary>
    /// <param name="configuration">The model.</param>
    /// <param name="seed">Seed of the weights.</param>
    public CausalLanguageModel(ModelConfiguration configuration, long seed = 0)
        : this(configuration, WeightInitializer.Create(configuration, seed))
    {
    }

    /// <summary>Takes weights over; <paramref name="weights"/> gives each tensor of <see cref="ModelShapes.Enumerate"/> in turn.</summary>
    private CausalLanguageModel(ModelConfiguration configuration, Func<TensorShape, Tensor> weights)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        Configuration = configuration;
        _rotary = new RotaryEmbedding(configuration);
        try
        {
            foreach (var shape in ModelShapes.Enumerate(configuration))
            {
                var parameter = new Parameter(weights(shape), requires_grad: false);
                parameter.DetachFromDisposeScope();
                _weights.Add(shape.Name, parameter);
            }
        }
        catch
        {
            Dispose();
            throw;
        }

        for (var layer = 0; layer < configuration.LayerCount; layer++)
        {
            var prefix = ModelShapes.LayerPrefix(layer);
            var own = ModelShapes.EnumerateLayer(configuration).ToDictionary(shape => shape.Name, shape => _weights[prefix + shape.Name]);
            _layers.Add(new DecoderLayer(configuration, layer, _rotary, own));
        }
    }

    /// <summary>The model's sizes.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>The decoder layers in order.</summary>
    public IReadOnlyList<DecoderLayer> Layers => _layers;

    /// <summary>Every weight by its name in the checkpoint, in the checkpoint's order; a tied head is not listed.</summary>
    public IReadOnlyDictionary<string, Parameter> Weights => _weights;

    /// <summary>
    /// The type that linears and attention compute in, such as bfloat16; null (the start) for the weights' own. The residual stream and the
    /// norms keep the weights' type.
    /// </summary>
    public ScalarType? ComputeType
    {
        get => _computeType;
        set
        {
            _computeType = value;
            foreach (var layer in _layers)
            {
                layer.ComputeType = value;
            }
        }
    }

    /// <summary>Looks tokens up.</summary>
    /// <param name="tokens">[batch, length], 64-bit integers in [0, vocabulary).</param>
    /// <returns>The residual stream, [batch, length, hidden].</returns>
    public Tensor Embed(Tensor tokens)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        using var scope = NewDisposeScope();
        var rows = _weights[ModelShapes.Embedding].index_select(0, tokens.flatten());
        return TokenEmbedding.Scale(rows.view([.. tokens.shape, Configuration.HiddenSize]), Configuration).MoveToOuterDisposeScope();
    }

    /// <summary>From tokens to logits.</summary>
    /// <param name="tokens">[batch, length], 64-bit integers in [0, vocabulary).</param>
    /// <param name="cache">The keys and values before these tokens, which grows by them; null for whole sequences.</param>
    /// <returns>[batch, length, vocabulary].</returns>
    public Tensor Forward(Tensor tokens, KeyValueCache? cache = null)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        using var scope = NewDisposeScope();
        var hidden = Embed(tokens);
        foreach (var layer in _layers)
        {
            hidden = layer.Forward(hidden, cache);
        }

        cache?.Advance(tokens.shape[1]);
        return Head(hidden).MoveToOuterDisposeScope();
    }

    /// <summary>From tokens to the residual stream after the last layer, in the caller's dispose scope; without gradients, one layer's tensors at a time.</summary>
    /// <param name="tokens">[batch, length], 64-bit integers in [0, vocabulary).</param>
    /// <param name="cancellationToken">Stops between layers.</param>
    /// <param name="cache">The keys and values before these tokens, which grows by them; null for whole sequences.</param>
    internal Tensor RunLayers(Tensor tokens, CancellationToken cancellationToken, KeyValueCache? cache = null)
    {
        using var withoutGradients = no_grad();
        using var scope = NewDisposeScope();
        Tensor hidden = Embed(tokens);
        foreach (DecoderLayer layer in _layers)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Tensor next = layer.Forward(hidden, cache);
            hidden.Dispose();
            hidden = next;
        }

        cache?.Advance(tokens.shape[1]);
        return hidden.MoveToOuterDisposeScope();
    }

    /// <summary>The final norm and the head.</summary>
    /// <param name="hidden">The residual stream after the last layer, [..., hidden].</param>
    /// <returns>Logits, [..., vocabulary].</returns>
    public Tensor Head(Tensor hidden)
    {
        ArgumentNullException.ThrowIfNull(hidden);
        var head = _weights[Configuration.TieWordEmbeddings ? ModelShapes.Embedding : ModelShapes.Head];
        return LanguageModelHead.Apply(Configuration, hidden, _weights[ModelShapes.FinalNorm], head, _computeType ?? hidden.dtype);
    }

    /// <summary>A weight by its name in the checkpoint; not a copy.</summary>
    /// <param name="tensorName">Such as <c>model.layers.0.mlp.up_proj.weight</c>.</param>
    /// <exception cref="ArgumentException">The model has no such weight.</exception>
    public Tensor GetWeight(string tensorName) => Find(tensorName);

    /// <summary>Copies new values into a weight.</summary>
    /// <param name="tensorName">Such as <c>model.layers.0.mlp.up_proj.weight</c>.</param>
    /// <param name="values">Of the weight's shape and any floating type; stays the caller's.</param>
    /// <exception cref="ArgumentException">The model has no such weight, or the shape differs.</exception>
    public void SetWeight(string tensorName, Tensor values) => WeightCopy.Into(Find(tensorName), values, tensorName);

    /// <summary>Turns gradients on or off for every weight; a new or loaded model has them off.</summary>
    /// <param name="value">True for training.</param>
    public void RequireGradients(bool value)
    {
        foreach (var weight in _weights.Values)
        {
            weight.requires_grad = value;
        }
    }

    /// <summary>Frees the weights.</summary>
    public void Dispose()
    {
        _rotary.Dispose();
        foreach (var weight in _weights.Values)
        {
            weight.Dispose();
        }
    }

    private Parameter Find(string tensorName) =>
        _weights.TryGetValue(tensorName, out var weight)
            ? weight
            : throw new ArgumentException($"The model has no weight \"{tensorName}\".", nameof(tensorName));
}
