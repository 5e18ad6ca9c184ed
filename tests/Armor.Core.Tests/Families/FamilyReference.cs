using System.Text.Json.Nodes;

namespace Armor.Core.Tests.Families;

/// <summary>
/// The newer families' decoders in plain float64 loops over one sequence, from the published formulas, read straight from a <c>config.json</c>
/// and the tensors under their names in the checkpoint: Gemma 2 (arXiv 2408.00118), Gemma 3 (arXiv 2503.19786), Phi-3 (arXiv 2404.14219) with
/// LongRoPE (arXiv 2402.13753), Mixtral (arXiv 2401.04088), Qwen3-MoE (arXiv 2505.09388). Shares no code with the library.
/// </summary>
internal sealed class FamilyReference(JsonObject config, IReadOnlyDictionary<string, double[]> weights)
{
    private readonly string type = (string)config["model_type"]!;
    private readonly int hidden = Integer("hidden_size", config);
    private readonly int heads = Integer("num_attention_heads", config);
    private readonly int keyHeads = Integer("num_key_value_heads", config);
    private readonly int headSize = config["head_dim"] is null ? Integer("hidden_size", config) / Integer("num_attention_heads", config) : Integer("head_dim", config);

    private bool IsGemma => type is "gemma2" or "gemma3_text";

    /// <summary>Logits of every position.</summary>
    public double[][] Logits(int[] tokens)
    {
        double[] embedding = weights["model.embed_tokens.weight"];
        double[][] x = [.. tokens.Select(token => Row(embedding, token, hidden).Select(value => value * EmbeddingScale()).ToArray())];
        for (int layer = 0; layer < Integer("num_hidden_layers", config); layer++)
        {
            Layer(x, layer);
        }

        double[] head = weights.TryGetValue("lm_head.weight", out double[]? own) ? own : embedding;
        return [.. x.Select(row => Cap(Product(head, Norm(row, "model.norm.weight")), "final_logit_softcapping"))];
    }

    private double EmbeddingScale()
    {
        if (!IsGemma)
        {
            return 1;
        }

        double scale = Math.Sqrt(hidden);
        if ((string?)config["torch_dtype"] != "bfloat16")
        {
            return scale;
        }

        // Eight significant bits.
        double unit = Math.Pow(2, Math.Floor(Math.Log2(scale)) - 7);
        return Math.Round(scale / unit) * unit;
    }

    private void Layer(double[][] x, int layer)
    {
        string prefix = $"model.layers.{layer}.";
        double[][] a = [.. x.Select(row => Norm(row, prefix + "input_layernorm.weight"))];
        double[][] attended = Attention(a, prefix + "self_attn.", layer);
        for (int t = 0; t < x.Length; t++)
        {
            if (IsGemma)
            {
                x[t] = Sum(x[t], Norm(attended[t], prefix + "post_attention_layernorm.weight"));
                double[] m = FeedForward(Norm(x[t], prefix + "pre_feedforward_layernorm.weight"), prefix);
                x[t] = Sum(x[t], Norm(m, prefix + "post_feedforward_layernorm.weight"));
            }
            else
            {
                x[t] = Sum(x[t], attended[t]);
                x[t] = Sum(x[t], FeedForward(Norm(x[t], prefix + "post_attention_layernorm.weight"), prefix));
            }
        }
    }

    private double[][] Attention(double[][] a, string prefix, int layer)
    {
        var q = new double[a.Length][];
        var k = new double[a.Length][];
        var v = new double[a.Length][];
        for (int t = 0; t < a.Length; t++)
        {
            if (type == "phi3")
            {
                double[] qkv = Product(weights[prefix + "qkv_proj.weight"], a[t]);
                q[t] = qkv[..(heads * headSize)];
                k[t] = qkv[(heads * headSize)..((heads + keyHeads) * headSize)];
                v[t] = qkv[((heads + keyHeads) * headSize)..];
            }
            else
            {
                q[t] = Product(weights[prefix + "q_proj.weight"], a[t]);
                k[t] = Product(weights[prefix + "k_proj.weight"], a[t]);
                v[t] = Product(weights[prefix + "v_proj.weight"], a[t]);
            }

            if (type is "gemma3_text" or "qwen3_moe")
            {
                q[t] = [.. q[t].Chunk(headSize).SelectMany(head => Norm(head, prefix + "q_norm.weight"))];
                k[t] = [.. k[t].Chunk(headSize).SelectMany(head => Norm(head, prefix + "k_norm.weight"))];
            }

            q[t] = [.. q[t].Chunk(headSize).SelectMany(head => Rotate(head, t, a.Length, layer))];
            k[t] = [.. k[t].Chunk(headSize).SelectMany(head => Rotate(head, t, a.Length, layer))];
        }

        double scalar = IsGemma ? (double)config["query_pre_attn_scalar"]! : headSize;
        int window = IsLocal(layer) ? Integer("sliding_window", config) : int.MaxValue;
        var output = new double[a.Length][];
        for (int t = 0; t < a.Length; t++)
        {
            var context = new double[heads * headSize];
            for (int head = 0; head < heads; head++)
            {
                int from = head * headSize;
                int shared = head * keyHeads / heads * headSize;
                int first = (int)Math.Max(0, (long)t + 1 - window);
                double[] scores = [.. Enumerable.Range(first, t + 1 - first).Select(s =>
                    Enumerable.Range(0, headSize).Sum(i => q[t][from + i] * k[s][shared + i]) / Math.Sqrt(scalar))];
                scores = Softmax(Cap(scores, "attn_logit_softcapping"));
                for (int s = 0; s < scores.Length; s++)
                {
                    for (int i = 0; i < headSize; i++)
                    {
                        context[from + i] += scores[s] * v[first + s][shared + i];
                    }
                }
            }

            output[t] = Product(weights[prefix + "o_proj.weight"], context);
        }

        return output;
    }

    /// <summary>Whether the layer has a window.</summary>
    private bool IsLocal(int layer) => type switch
    {
        "gemma2" => layer % 2 == 0,
        "gemma3_text" => (layer + 1) % Integer("sliding_window_pattern", config) != 0,
        "qwen3_moe" => (bool?)config["use_sliding_window"] == true,
        _ => config["sliding_window"] is not null,
    };

    private double[] Rotate(double[] head, int position, int length, int layer)
    {
        bool isLocalBase = type == "gemma3_text" && IsLocal(layer);
        double theta = (double)config[isLocalBase ? "rope_local_base_freq" : "rope_theta"]!;
        int size = (int)(headSize * ((double?)config["partial_rotary_factor"] ?? 1));
        JsonNode? scaling = isLocalBase ? null : config["rope_scaling"];
        double magnitude = 1;
        double[] divisors = [.. Enumerable.Repeat(scaling?["factor"] is { } linear ? (double)linear : 1.0, size / 2)];
        if (type == "phi3" && scaling is not null)
        {
            double original = (double)config["original_max_position_embeddings"]!;
            double ratio = (double)config["max_position_embeddings"]! / original;
            magnitude = Math.Sqrt(1 + (Math.Log(ratio) / Math.Log(original)));
            divisors = [.. scaling[length > original ? "long_factor" : "short_factor"]!.AsArray().Select(factor => (double)factor!)];
        }

        double[] rotated = [.. head];
        for (int i = 0; i < size / 2; i++)
        {
            double angle = position / Math.Pow(theta, 2.0 * i / size) / divisors[i];
            rotated[i] = magnitude * ((head[i] * Math.Cos(angle)) - (head[i + (size / 2)] * Math.Sin(angle)));
            rotated[i + (size / 2)] = magnitude * ((head[i + (size / 2)] * Math.Cos(angle)) + (head[i] * Math.Sin(angle)));
        }

        return rotated;
    }

    private double[] FeedForward(double[] m, string prefix)
    {
        switch (type)
        {
            case "mixtral":
                return Mixture(m, prefix + "block_sparse_moe.", Integer("num_local_experts", config), true, "w1", "w3", "w2");
            case "qwen3_moe":
                return Mixture(m, prefix + "mlp.", Integer("num_experts", config), (bool)config["norm_topk_prob"]!, "gate_proj", "up_proj", "down_proj");
            case "phi3":
                double[] both = Product(weights[prefix + "mlp.gate_up_proj.weight"], m);
                return Product(weights[prefix + "mlp.down_proj.weight"], Gated(both[..(both.Length / 2)], both[(both.Length / 2)..]));
            default:
                return Mlp(m, prefix + "mlp.", "gate_proj", "up_proj", "down_proj");
        }
    }

    private double[] Mixture(double[] m, string prefix, int count, bool normalised, string gate, string up, string down)
    {
        double[] probabilities = Softmax(Product(weights[prefix + "gate.weight"], m));
        int[] chosen = [.. Enumerable.Range(0, count).OrderByDescending(expert => probabilities[expert]).Take(Integer("num_experts_per_tok", config))];
        double total = normalised ? chosen.Sum(expert => probabilities[expert]) : 1;
        var sum = new double[hidden];
        foreach (int expert in chosen)
        {
            double[] y = Mlp(m, $"{prefix}experts.{expert}.", gate, up, down);
            sum = [.. sum.Zip(y, (s, value) => s + (probabilities[expert] / total * value))];
        }

        return sum;
    }

    private double[] Mlp(double[] m, string prefix, string gate, string up, string down) => Product(
        weights[$"{prefix}{down}.weight"], Gated(Product(weights[$"{prefix}{gate}.weight"], m), Product(weights[$"{prefix}{up}.weight"], m)));

    private double[] Gated(double[] gate, double[] up) => [.. gate.Zip(up, (g, u) =>
        u * (IsGemma ? 0.5 * g * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (g + (0.044715 * g * g * g)))) : g / (1 + Math.Exp(-g))))];

    private double[] Norm(double[] x, string name)
    {
        double root = Math.Sqrt((x.Sum(value => value * value) / x.Length) + (double)config["rms_norm_eps"]!);
        return [.. x.Zip(weights[name], (value, weight) => value / root * (IsGemma ? 1 + weight : weight))];
    }

    private double[] Cap(double[] values, string key) =>
        config[key] is { } cap ? [.. values.Select(value => (double)cap * Math.Tanh(value / (double)cap))] : values;

    private static double[] Softmax(double[] scores)
    {
        double largest = scores.Max();
        double[] exponentials = [.. scores.Select(score => Math.Exp(score - largest))];
        double sum = exponentials.Sum();
        return [.. exponentials.Select(value => value / sum)];
    }

    private static double[] Product(double[] matrix, double[] x)
    {
        var y = new double[matrix.Length / x.Length];
        for (int row = 0; row < y.Length; row++)
        {
            for (int column = 0; column < x.Length; column++)
            {
                y[row] += matrix[(row * x.Length) + column] * x[column];
            }
        }

        return y;
    }

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double[] Row(double[] matrix, int row, int columns) => matrix[(row * columns)..((row + 1) * columns)];

    private static int Integer(string key, JsonObject source) => (int)source[key]!;
}
