namespace Armor.Runtime.Models;

/// <summary>The linears of a decoder layer that share one input; calibration collects one set of statistics a group, of experts one a group and expert.</summary>
public enum LinearGroup
{
    /// <summary><c>q_proj</c>, <c>k_proj</c> and <c>v_proj</c>, which read the normed residual stream.</summary>
    AttentionInput,

    /// <summary><c>o_proj</c>, which reads the heads' outputs.</summary>
    AttentionOutput,

    /// <summary><c>gate_proj</c> and <c>up_proj</c>, which read the normed residual stream.</summary>
    MlpInput,

    /// <summary><c>down_proj</c>, which reads the gated activation.</summary>
    MlpOutput,
}

/// <summary>One linear of a decoder layer.</summary>
/// <param name="Name">The name within the layer, such as <c>self_attn.q_proj</c>.</param>
/// <param name="Group">The group that it shares its input with.</param>
/// <param name="Rows">Number of outputs.</param>
/// <param name="Columns">Number of inputs.</param>
/// <param name="HasBias">True where a bias of <paramref name="Rows"/> numbers is added.</param>
/// <param name="Expert">The expert that it belongs to, from 0; null for attention's linears and for those of an MLP.</param>
public sealed record LinearDescription(string Name, LinearGroup Group, int Rows, int Columns, bool HasBias, int? Expert = null);

/// <summary>The three linears of an MLP or of one expert, by their names within the layer.</summary>
/// <param name="Gate">From the residual stream to the gate.</param>
/// <param name="Up">From the residual stream to what the gate multiplies.</param>
/// <param name="Down">Back to the residual stream.</param>
public sealed record FeedForwardNames(string Gate, string Up, string Down);

/// <summary>A weight of the checkpoint that is several linears' weights, stacked row upon row.</summary>
/// <param name="Name">The name within the layer, such as <c>self_attn.qkv_proj</c>.</param>
/// <param name="Parts">The linears, in the order of their rows.</param>
public sealed record FusedLinear(string Name, IReadOnlyList<string> Parts);

/// <summary>One tensor that a checkpoint of a configuration must hold.</summary>
/// <param name="Name">The full name, such as <c>model.layers.0.self_attn.q_proj.weight</c>.</param>
/// <param name="Shape">The dimensions, outermost first.</param>
public sealed record TensorShape(string Name, IReadOnlyList<long> Shape)
{
    /// <summary>Number of elements.</summary>
    public long ElementCount => Shape.Aggregate(1L, (product, size) => product * size);
}
