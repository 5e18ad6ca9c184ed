using System.Globalization;

namespace Armor.Runtime.Models;

/// <summary>The names and shapes of a family's tensors: one description that loading, calibration, pruning and both forward passes follow.</summary>
public static class ModelShapes
{
    /// <summary>Token embedding, [vocabulary, hidden].</summary>
    public const string Embedding = "model.embed_tokens.weight";

    /// <summary>Norm before the head, [hidden].</summary>
    public const string FinalNorm = "model.norm.weight";

    /// <summary>The head, [vocabulary, hidden]; absent where it is tied to the embedding.</summary>
    public const string Head = "lm_head.weight";

    /// <summary>Name within a layer of the norm before attention, [hidden].</summary>
    public const string AttentionNorm = "input_layernorm.weight";

    /// <summary>Name within a layer of the norm before the MLP, [hidden]; Gemma has another, see <see cref="MlpNormOf"/>.</summary>
    public const string MlpNorm = "post_attention_layernorm.weight";

    /// <summary>Name within a layer of the norm of attention's output, [hidden], where the family has one.</summary>
    public const string AttentionOutputNorm = "post_attention_layernorm.weight";

    /// <summary>Name within a layer of the norm of the MLP's output, [hidden], where the family has one.</summary>
    public const string MlpOutputNorm = "post_feedforward_layernorm.weight";

    /// <summary>Name within a layer of the queries' norm, [head size], where the family has one.</summary>
    public const string QueryNorm = "self_attn.q_norm.weight";

    /// <summary>Name within a layer of the keys' norm, [head size], where the family has one.</summary>
    public const string KeyNorm = "self_attn.k_norm.weight";

    /// <summary>Name within a layer of the queries' projection.</summary>
    public const string Query = "self_attn.q_proj";

    /// <summary>Name within a layer of the keys' projection.</summary>
    public const string Key = "self_attn.k_proj";

    /// <summary>Name within a layer of the values' projection.</summary>
    public const string Value = "self_attn.v_proj";

    /// <summary>Name within a layer of attention's output projection.</summary>
    public const string AttentionOutput = "self_attn.o_proj";

    /// <summary>Name within a layer of the MLP's gate.</summary>
    public const string Gate = "mlp.gate_proj";

    /// <summary>Name within a layer of the MLP's widening projection.</summary>
    public const string Up = "mlp.up_proj";

    /// <summary>Name within a layer of the MLP's output projection.</summary>
    public const string Down = "mlp.down_proj";

    /// <summary>The prefix of a layer's names, with its final point: <c>model.layers.3.</c></summary>
    /// <param name="layer">Index of the layer, from 0.</param>
    public static string LayerPrefix(int layer) => FormattableString.Invariant($"model.layers.{layer}.");

    /// <summary>The name within a layer of the norm before the MLP, [hidden].</summary>
    /// <param name="configuration">The model.</param>
    public static string MlpNormOf(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return configuration.HasOutputNorms ? "pre_feedforward_layernorm.weight" : MlpNorm;
    }

    /// <summary>The name within a layer of the experts' router, [experts, hidden].</summary>
    /// <param name="configuration">A model with experts.</param>
    public static string RouterOf(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return configuration.Family == ModelFamily.Mixtral ? "block_sparse_moe.gate.weight" : "mlp.gate.weight";
    }

    /// <summary>The names within a layer of the linears of its MLP or of one of its experts.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="expert">The expert, from 0; null for an MLP.</param>
    public static FeedForwardNames FeedForward(ModelConfiguration configuration, int? expert)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        if (expert is not { } index)
        {
            return new(Gate, Up, Down);
        }

        var isMixtral = configuration.Family == ModelFamily.Mixtral;
        var prefix = string.Create(CultureInfo.InvariantCulture, $"{(isMixtral ? "block_sparse_moe" : "mlp")}.experts.{index}.");
        return isMixtral ? new(prefix + "w1", prefix + "w3", prefix + "w2") : new(prefix + "gate_proj", prefix + "up_proj", prefix + "down_proj");
    }

    /// <summary>Which linears' weights are stacked to one in the family's checkpoints; empty for most families.</summary>
    /// <param name="configuration">The model.</param>
    public static IReadOnlyList<FusedLinear> FusedLinears(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return configuration.HasFusedProjections
            ? [new("self_attn.qkv_proj", [Query, Key, Value]), new("mlp.gate_up_proj", [Gate, Up])]
            : [];
    }

    /// <summary>The linears of a decoder layer in the order of the forward pass, group by group and expert by expert.</summary>
    /// <param name="configuration">The model.</param>
    public static IReadOnlyList<LinearDescription> Linears(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var hidden = configuration.HiddenSize;
        var intermediate = configuration.IntermediateSize;
        var query = configuration.QuerySize;
        var keyValue = configuration.KeyValueSize;
        var bias = configuration.QueryKeyValueBias;
        IEnumerable<int?> experts = configuration.Experts is { } some ? Enumerable.Range(0, some.Count).Select(expert => (int?)expert) : [null];
        return
        [
            new(Query, LinearGroup.AttentionInput, query, hidden, bias),
            new(Key, LinearGroup.AttentionInput, keyValue, hidden, bias),
            new(Value, LinearGroup.AttentionInput, keyValue, hidden, bias),
            new(AttentionOutput, LinearGroup.AttentionOutput, hidden, query, configuration.OutputBias),
            .. experts.SelectMany(FeedForwardLinears),
        ];

        IEnumerable<LinearDescription> FeedForwardLinears(int? expert)
        {
            var names = FeedForward(configuration, expert);
            yield return new(names.Gate, LinearGroup.MlpInput, intermediate, hidden, configuration.MlpBias, expert);
            yield return new(names.Up, LinearGroup.MlpInput, intermediate, hidden, configuration.MlpBias, expert);
            yield return new(names.Down, LinearGroup.MlpOutput, hidden, intermediate, configuration.MlpBias, expert);
        }
    }

    /// <summary>The full names of all decoder linears, layer by layer, without <c>.weight</c>: what pruning works through.</summary>
    /// <param name="configuration">The model.</param>
    public static IEnumerable<string> LinearNames(ModelConfiguration configuration)
    {
        var linears = Linears(configuration);
        return Enumerable.Range(0, configuration.LayerCount).SelectMany(layer => linears.Select(linear => LayerPrefix(layer) + linear.Name));
    }

    /// <summary>The tensors of one decoder layer, named within the layer (without <see cref="LayerPrefix"/>).</summary>
    /// <param name="configuration">The model.</param>
    public static IEnumerable<TensorShape> EnumerateLayer(ModelConfiguration configuration)
    {
        yield return new(AttentionNorm, [configuration.HiddenSize]);
        foreach (var linear in Linears(configuration))
        {
            yield return new(linear.Name + ".weight", [linear.Rows, linear.Columns]);
            if (linear.HasBias)
            {
                yield return new(linear.Name + ".bias", [linear.Rows]);
            }
        }

        if (configuration.QueryKeyNorm)
        {
            yield return new(QueryNorm, [configuration.HeadSize]);
            yield return new(KeyNorm, [configuration.HeadSize]);
        }

        yield return new(MlpNormOf(configuration), [configuration.HiddenSize]);
        if (configuration.HasOutputNorms)
        {
            yield return new(AttentionOutputNorm, [configuration.HiddenSize]);
            yield return new(MlpOutputNorm, [configuration.HiddenSize]);
        }

        if (configuration.Experts is { } experts)
        {
            yield return new(RouterOf(configuration), [experts.Count, configuration.HiddenSize]);
        }
    }

    /// <summary>
    /// Every tensor of a model, with its shape; the parts of a fused weight stand for themselves, as a <see cref="Checkpoints.CheckpointFolder"/>
    /// shows them. A tied head is not listed.
    /// </summary>
    /// <param name="configuration">The model.</param>
    public static IEnumerable<TensorShape> Enumerate(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        yield return new(Embedding, [configuration.VocabularySize, configuration.HiddenSize]);
        for (var layer = 0; layer < configuration.LayerCount; layer++)
        {
            foreach (var tensor in EnumerateLayer(configuration))
            {
                yield return tensor with { Name = LayerPrefix(layer) + tensor.Name };
            }
        }

        yield return new(FinalNorm, [configuration.HiddenSize]);
        if (!configuration.TieWordEmbeddings)
        {
            yield return new(Head, [configuration.VocabularySize, configuration.HiddenSize]);
        }
    }

    /// <summary>Number of parameters; a tied head counts once.</summary>
    /// <param name="configuration">The model.</param>
    public static long ParameterCount(ModelConfiguration configuration) => Enumerate(configuration).Sum(tensor => tensor.ElementCount);
}
