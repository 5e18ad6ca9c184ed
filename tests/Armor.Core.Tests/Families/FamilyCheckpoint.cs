using System.Text.Json.Nodes;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Tests.Families;

/// <summary>
/// Tiny random checkpoints of the newer families as their publishers write them, names and fused tensors included, with every weight away from
/// its default. Longer sequences than the window, and than Phi-3's original context, fit.
/// </summary>
internal static class FamilyCheckpoint
{
    private const int Vocabulary = 96;

    /// <summary>Just enough pruning for every part of it to run.</summary>
    public static readonly ModelPrunerOptions Quick = new()
    {
        Pruner = ArmorPrunerOptions.Fast with
        {
            BlockSize = 4,
            Stages =
            [
                new PruningStage { Loss = StageLoss.Diagonal, AnnealingCycles = 2, PolishCycles = 1 },
                new PruningStage { Loss = StageLoss.FullHessian, PolishCycles = 1 },
            ],
        },
        TokensPerBatch = 100,
        Storage = TensorElementType.Float32,
    };

    private static readonly Dictionary<string, string> Configurations = new()
    {
        ["Gemma 2"] = """
            { "model_type": "gemma2", "num_hidden_layers": 3, "head_dim": 12, "sliding_window": 9, "query_pre_attn_scalar": 20,
              "attn_logit_softcapping": 2.0, "final_logit_softcapping": 8.0, "hidden_activation": "gelu_pytorch_tanh", "torch_dtype": "bfloat16",
              "tie_word_embeddings": true, "hidden_size": 40 }
            """,
        ["Gemma 3"] = """
            { "model_type": "gemma3_text", "num_hidden_layers": 7, "head_dim": 16, "sliding_window": 9, "sliding_window_pattern": 3,
              "query_pre_attn_scalar": 24, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "hidden_activation": "gelu_pytorch_tanh",
              "rope_scaling": { "rope_type": "linear", "factor": 8.0 }, "tie_word_embeddings": true }
            """,
        ["Phi-3"] = """{ "model_type": "phi3", "sliding_window": 11, "original_max_position_embeddings": 128 }""",
        ["Phi-3, LongRoPE, partial rotation"] = """
            { "model_type": "phi3", "num_attention_heads": 2, "num_key_value_heads": 1, "partial_rotary_factor": 0.75, "sliding_window": null,
              "original_max_position_embeddings": 32, "tie_word_embeddings": true,
              "rope_scaling": { "type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.5, 1.9], "long_factor": [1.0, 1.4, 2.2, 3.0, 3.9, 5.0] } }
            """,
        ["Mixtral"] = """{ "model_type": "mixtral", "num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": null }""",
        ["Qwen3-MoE"] = """
            { "model_type": "qwen3_moe", "head_dim": 20, "num_experts": 6, "num_experts_per_tok": 3, "norm_topk_prob": true,
              "moe_intermediate_size": 24, "decoder_sparse_step": 1, "mlp_only_layers": [] }
            """,
        ["Qwen3-MoE, raw weights, window"] = """
            { "model_type": "qwen3_moe", "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 1, "norm_topk_prob": false,
              "moe_intermediate_size": 20, "use_sliding_window": true, "sliding_window": 6 }
            """,
    };

    public static IEnumerable<string> Names => Configurations.Keys;

    public static JsonObject Configuration(string name)
    {
        JsonObject config = new()
        {
            ["hidden_size"] = 32,
            ["intermediate_size"] = 44,
            ["num_hidden_layers"] = 2,
            ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = 128,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["tie_word_embeddings"] = false,
        };
        foreach ((string key, JsonNode? value) in JsonNode.Parse(Configurations[name])!.AsObject())
        {
            config[key] = value?.DeepClone();
        }

        // As it reads from a file: numbers of no fixed type.
        return JsonNode.Parse(config.ToJsonString())!.AsObject();
    }

    /// <summary>Writes the folder, in float32.</summary>
    /// <returns>The weights.</returns>
    public static Dictionary<string, double[]> Write(string name, string folder, int seed = 1)
    {
        JsonObject config = Configuration(name);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        (string Name, long[] Shape)[] shapes = [.. Shapes(config)];
        var random = new Random(seed);
        var weights = shapes.ToDictionary(shape => shape.Name, shape => Values(shape.Name, shape.Shape, config, random));
        var tensors = shapes.Select(shape => new TensorDescription(shape.Name, TensorElementType.Float32, shape.Shape)).ToList();
        using var writer = SafetensorsWriter.Create(Path.Combine(folder, "model.safetensors"), tensors);
        foreach (TensorDescription tensor in tensors)
        {
            writer.WriteFloat32(tensor.Name, Array.ConvertAll(weights[tensor.Name], value => (float)value));
        }

        writer.Commit();
        return weights;
    }

    public static int[] Tokens(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(Vocabulary))];
    }

    /// <summary>Sequences of 20 to 49 tokens, each other ones.</summary>
    public static IReadOnlyList<int[]> Sequences(int count) => [.. Enumerable.Range(0, count).Select(index => Tokens(20 + (index % 30), index))];

    private static IEnumerable<(string Name, long[] Shape)> Shapes(JsonObject config)
    {
        string type = (string)config["model_type"]!;
        long Number(string key) => (long)config[key]!;
        long hidden = Number("hidden_size");
        long inner = type == "qwen3_moe" ? Number("moe_intermediate_size") : Number("intermediate_size");
        long head = config["head_dim"] is null ? hidden / Number("num_attention_heads") : Number("head_dim");
        long query = Number("num_attention_heads") * head;
        long key = Number("num_key_value_heads") * head;
        yield return ("model.embed_tokens.weight", [Vocabulary, hidden]);
        for (long layer = 0; layer < Number("num_hidden_layers"); layer++)
        {
            string prefix = $"model.layers.{layer}.";
            yield return (prefix + "input_layernorm.weight", [hidden]);
            yield return (prefix + "post_attention_layernorm.weight", [hidden]);
            yield return (prefix + "self_attn.o_proj.weight", [hidden, query]);
            if (type == "phi3")
            {
                yield return (prefix + "self_attn.qkv_proj.weight", [query + (2 * key), hidden]);
                yield return (prefix + "mlp.gate_up_proj.weight", [2 * inner, hidden]);
                yield return (prefix + "mlp.down_proj.weight", [hidden, inner]);
                continue;
            }

            yield return (prefix + "self_attn.q_proj.weight", [query, hidden]);
            yield return (prefix + "self_attn.k_proj.weight", [key, hidden]);
            yield return (prefix + "self_attn.v_proj.weight", [key, hidden]);
            if (type is "gemma2" or "gemma3_text")
            {
                yield return (prefix + "pre_feedforward_layernorm.weight", [hidden]);
                yield return (prefix + "post_feedforward_layernorm.weight", [hidden]);
            }

            if (type is "gemma3_text" or "qwen3_moe")
            {
                yield return (prefix + "self_attn.q_norm.weight", [head]);
                yield return (prefix + "self_attn.k_norm.weight", [head]);
            }

            foreach ((string name, long[] shape) in FeedForward(type, config, hidden, inner))
            {
                yield return (prefix + name, shape);
            }
        }

        yield return ("model.norm.weight", [hidden]);
        if (!(bool)config["tie_word_embeddings"]!)
        {
            yield return ("lm_head.weight", [Vocabulary, hidden]);
        }
    }

    private static IEnumerable<(string Name, long[] Shape)> FeedForward(string type, JsonObject config, long hidden, long inner)
    {
        bool isMixtral = type == "mixtral";
        if (!isMixtral && type != "qwen3_moe")
        {
            return Mlp("mlp.", "gate_proj", "up_proj", "down_proj");
        }

        string prefix = isMixtral ? "block_sparse_moe." : "mlp.";
        int count = (int)config[isMixtral ? "num_local_experts" : "num_experts"]!;
        return Enumerable.Range(0, count)
            .SelectMany(expert => isMixtral
                ? Mlp($"{prefix}experts.{expert}.", "w1", "w3", "w2")
                : Mlp($"{prefix}experts.{expert}.", "gate_proj", "up_proj", "down_proj"))
            .Append((prefix + "gate.weight", [count, hidden]));

        IEnumerable<(string Name, long[] Shape)> Mlp(string start, string gate, string up, string down) =>
            [($"{start}{gate}.weight", [inner, hidden]), ($"{start}{up}.weight", [inner, hidden]), ($"{start}{down}.weight", [hidden, inner])];
    }

    private static double[] Values(string name, long[] shape, JsonObject config, Random random)
    {
        bool isNorm = name.EndsWith("norm.weight", StringComparison.Ordinal);
        double mean = isNorm && !((string)config["model_type"]!).StartsWith("gemma", StringComparison.Ordinal) ? 1 : 0;
        double deviation = isNorm ? 0.2 : name.EndsWith("gate.weight", StringComparison.Ordinal) ? 0.5 : 0.25;
        var values = new double[shape.Aggregate(1L, (product, size) => product * size)];
        for (int i = 0; i < values.Length; i++)
        {
            double normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            values[i] = (float)(mean + (deviation * normal));
        }

        return values;
    }
}
