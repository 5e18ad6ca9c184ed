using Armor.Runtime.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>
/// One decoder layer in stages, so that calibration can stop before each group of linears: x is the residual stream
/// [batch, length, hidden], and <see cref="Forward(Tensor)"/> equals the stages in order. Every method works with autograd and returns a tensor of
/// the caller's dispose scope.
/// </summary>
public sealed partial class DecoderLayer
{
    private readonly ModelConfiguration _configuration;
    private readonly RotaryEmbedding _rotary;
    private readonly Dictionary<string, Parameter> _weights;
    private readonly Dictionary<string, Func<Tensor, Tensor>> _replacements = new(StringComparer.Ordinal);
    private readonly int? _window;
    private readonly bool _isLocal;

    internal DecoderLayer(ModelConfiguration configuration, int index, RotaryEmbedding rotary, Dictionary<string, Parameter> weights)
    {
        _configuration = configuration;
        _rotary = rotary;
        _weights = weights;
        _window = configuration.SlidingWindowOf(index);
        _isLocal = configuration.HasLocalRotation(index);
        Index = index;
        Linears = ModelShapes.Linears(configuration);
    }

    /// <summary>The place in the model, from 0.</summary>
    public int Index { get; }

    /// <summary>The linears in the order of the forward pass.</summary>
    public IReadOnlyList<LinearDescription> Linears { get; }

    /// <summary>The layer's weights by their name within the layer (<c>self_attn.q_proj.weight</c>, <c>input_layernorm.weight</c>).</summary>
    public IReadOnlyDictionary<string, Parameter> Weights => _weights;

    internal ScalarType? ComputeType { get; set; }

    /// <summary>The weight of a linear, [d_out, d_in]; not a copy.</summary>
    /// <param name="linear">The name within the layer, such as <c>self_attn.q_proj</c>.</param>
    /// <exception cref="ArgumentException">The layer has no such linear.</exception>
    public Tensor GetLinearWeight(string linear) => Find(linear);

    /// <summary>Copies new values into a linear's weight.</summary>
    /// <param name="linear">The name within the layer, such as <c>self_attn.q_proj</c>.</param>
    /// <param name="weight">[d_out, d_in], of any floating type; stays the caller's.</param>
    /// <exception cref="ArgumentException">The layer has no such linear, or the shape differs.</exception>
    public void SetLinearWeight(string linear, Tensor weight) => WeightCopy.Into(Find(linear), weight, linear);

    /// <summary>Puts another tensor in the place of a linear's weight, which is disposed of; a layer that shares it keeps it.</summary>
    /// <param name="linear">The name within the layer.</param>
    /// <param name="weight">[d_out, d_in], float32; taken over.</param>
    internal void PutLinearWeight(string linear, Tensor weight)
    {
        Tensor old = Find(linear);
        if (!old.shape.SequenceEqual(weight.shape))
        {
            throw new ArgumentException($"{linear}: expected shape [{string.Join(", ", old.shape)}], found [{string.Join(", ", weight.shape)}].", nameof(weight));
        }

        using var scope = NewDisposeScope();
        old.Dispose();
        _weights[linear + ".weight"] = new Parameter(weight, requires_grad: false);
        _weights[linear + ".weight"].DetachFromDisposeScope();
    }

    /// <summary>
    /// Puts a function in the place of a linear's product (its bias, if any, is still added): for weights that are computed in the forward
    /// pass, such as a factorisation under fine-tuning.
    /// </summary>
    /// <param name="linear">The name within the layer, such as <c>mlp.down_proj</c>.</param>
    /// <param name="product">From [batch, length, d_in] to [batch, length, d_out]; null restores the weight.</param>
    /// <exception cref="ArgumentException">The layer has no such linear.</exception>
    public void ReplaceLinear(string linear, Func<Tensor, Tensor>? product)
    {
        Find(linear);
        if (product is null)
        {
            _replacements.Remove(linear);
        }
        else
        {
            _replacements[linear] = product;
        }
    }

    /// <summary>Norm before attention: the input of <c>q_proj</c>, <c>k_proj</c> and <c>v_proj</c>.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    /// <returns>[batch, length, hidden].</returns>
    public Tensor AttentionInput(Tensor x) => Norm(x, ModelShapes.AttentionNorm);

    /// <summary>Queries, keys, values, rotation and causal attention: the input of <c>o_proj</c>.</summary>
    /// <param name="a">What <see cref="AttentionInput"/> returned.</param>
    /// <returns>[batch, length, heads × head size].</returns>
    public Tensor AttentionContext(Tensor a) => AttentionContext(a, null);

    /// <summary>x + o_proj(context), with a norm between where the family has one.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    /// <param name="context">What <see cref="AttentionContext(Tensor)"/> returned.</param>
    /// <returns>[batch, length, hidden].</returns>
    public Tensor AddAttention(Tensor x, Tensor context) => Add(x, context, ModelShapes.AttentionOutput, ModelShapes.AttentionOutputNorm);

    /// <summary>Norm before the MLP: the input of <c>gate_proj</c> and <c>up_proj</c>.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    /// <returns>[batch, length, hidden].</returns>
    public Tensor MlpInput(Tensor x) => Norm(x, ModelShapes.MlpNormOf(_configuration));

    /// <summary>act(gate(m)) · up(m): the input of <c>down_proj</c>.</summary>
    /// <param name="m">What <see cref="MlpInput"/> returned.</param>
    /// <returns>[batch, length, intermediate].</returns>
    /// <exception cref="InvalidOperationException">The layer has experts in the place of its MLP.</exception>
    public Tensor MlpActivation(Tensor m) => GatedActivation(m, RequireMlp());

    /// <summary>x + down_proj(d), with a norm between where the family has one.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    /// <param name="d">What <see cref="MlpActivation"/> returned.</param>
    /// <returns>[batch, length, hidden].</returns>
    /// <exception cref="InvalidOperationException">The layer has experts in the place of its MLP.</exception>
    public Tensor AddMlp(Tensor x, Tensor d) => Add(x, d, ModelShapes.FeedForward(_configuration, RequireMlp()).Down, ModelShapes.MlpOutputNorm);

    /// <summary>The whole layer.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    /// <returns>[batch, length, hidden].</returns>
    public Tensor Forward(Tensor x) => Forward(x, null);

    internal Tensor Forward(Tensor x, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        var attended = AddAttention(x, AttentionContext(AttentionInput(x), cache));
        return AddFeedForward(attended).MoveToOuterDisposeScope();
    }

    private Tensor AttentionContext(Tensor a, KeyValueCache? cache)
    {
        using var scope = NewDisposeScope();
        var position = cache?.Length ?? 0;
        var isLong = _configuration.HasLongRotation(position + a.shape[1]);
        if (position > 0 && isLong != _configuration.HasLongRotation(position))
        {
            throw new InvalidOperationException(
                $"The sequence passes the original context of {_configuration.RopeScaling?.OriginalContextLength} tokens at token {position}, where "
                + "LongRoPE rotates all keys anew: begin again with an empty cache.");
        }

        var queries = _rotary.Rotate(NormHeads(Heads(a, ModelShapes.Query), ModelShapes.QueryNorm), position, _isLocal, isLong);
        var keys = _rotary.Rotate(NormHeads(Heads(a, ModelShapes.Key), ModelShapes.KeyNorm), position, _isLocal, isLong);
        var values = Heads(a, ModelShapes.Value);
        if (cache is not null)
        {
            (keys, values) = cache.Append(Index, keys, values);
        }

        var context = CausalAttention.Attend(queries, keys, values, _window, _configuration.AttentionScale, _configuration.AttentionSoftCap);
        return context.transpose(1, 2).reshape(a.shape[0], a.shape[1], _configuration.QuerySize).MoveToOuterDisposeScope();
    }

    /// <summary>A projection as [batch, heads, length, head size].</summary>
    private Tensor Heads(Tensor a, string linear) =>
        Linear(a, linear).view(a.shape[0], a.shape[1], -1, _configuration.HeadSize).transpose(1, 2);

    private Tensor NormHeads(Tensor heads, string norm) => _configuration.QueryKeyNorm ? Norm(heads, norm, heads.dtype) : heads;

    private Tensor Norm(Tensor x, string name) => Norm(x, name, ComputeType ?? x.dtype);

    private Tensor Norm(Tensor x, string name, ScalarType type) =>
        RootMeanSquareNorm.Apply(x, _weights[name], _configuration.HasUnitOffsetNorms, _configuration.NormEpsilon, type);

    private Tensor Add(Tensor x, Tensor input, string linear, string norm)
    {
        using var scope = NewDisposeScope();
        return AddNormed(x, Linear(input, linear), norm).MoveToOuterDisposeScope();
    }

    private Tensor AddNormed(Tensor x, Tensor added, string norm)
    {
        using var scope = NewDisposeScope();
        return x.Plus(_configuration.HasOutputNorms ? Norm(added, norm, x.dtype) : added).MoveToOuterDisposeScope();
    }

    private int? RequireMlp() => _configuration.Experts is null
        ? null
        : throw new InvalidOperationException("The layer has experts in the place of its MLP; only the whole layer can be computed.");

    private Tensor Linear(Tensor input, string name)
    {
        using var scope = NewDisposeScope();
        var bias = _weights.GetValueOrDefault(name + ".bias")?.to(input.dtype);
        if (_replacements.TryGetValue(name, out var product))
        {
            var result = product(input);
            return (bias is null ? result : result.Plus(bias)).MoveToOuterDisposeScope();
        }

        return nn.functional.linear(input, _weights[name + ".weight"].to(input.dtype), bias).MoveToOuterDisposeScope();
    }

    private Parameter Find(string linear) =>
        Linears.Any(description => description.Name == linear)
            ? _weights[linear + ".weight"]
            : throw new ArgumentException(
                $"The layer has no linear \"{linear}\"; it has {string.Join(", ", Linears.Select(description => description.Name))}.", nameof(linear));
}
