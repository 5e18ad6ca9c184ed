using System.Text.Encodings.Web;
using System.Text.Json;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Models;

/// <summary>Writes a <see cref="ModelConfiguration"/> as a <c>config.json</c> that other tools read as well.</summary>
public static class ConfigurationWriter
{
    /// <summary>The text of the file; <see cref="ModelConfiguration.Parse"/> gives the same configuration back.</summary>
    /// <param name="configuration">The model.</param>
    /// <exception cref="ArgumentException">The family's files cannot say this, such as a sliding window in Llama.</exception>
    public static string Write(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        using var stream = new MemoryStream();
        var options = new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using (var writer = new Utf8JsonWriter(stream, options))
        {
            writer.WriteStartObject();
            WriteFamily(writer, configuration);
            WriteSizes(writer, configuration);
            WriteGemma(writer, configuration);
            WriteExperts(writer, configuration);
            WriteRope(writer, configuration);
            WriteRest(writer, configuration);
            writer.WriteEndObject();
        }

        var text = System.Text.Encoding.UTF8.GetString(stream.ToArray()) + "\n";
        var read = ModelConfiguration.Parse(text, "the written configuration");
        var isSame = read with { EndOfSequence = [] } == configuration with { EndOfSequence = [] }
            && read.EndOfSequence.SequenceEqual(configuration.EndOfSequence);
        return isSame
            ? text
            : throw new ArgumentException($"A config.json of the family {configuration.Family} cannot say {configuration}.", nameof(configuration));
    }

    private static void WriteFamily(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        writer.WriteStartArray("architectures");
        writer.WriteStringValue($"{configuration.Family}ForCausalLM");
        writer.WriteEndArray();
        writer.WriteString("model_type", FamilyRules.Of(configuration.Family).Type);
    }

    private static void WriteSizes(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        var activation = FamilyRules.Of(configuration.Family).Activation;
        writer.WriteString(activation.Key, activation.Names[0]);
        writer.WriteNumber("hidden_size", configuration.HiddenSize);
        writer.WriteNumber("intermediate_size", configuration.IntermediateSize);
        writer.WriteNumber("num_hidden_layers", configuration.LayerCount);
        writer.WriteNumber("num_attention_heads", configuration.AttentionHeadCount);
        writer.WriteNumber("num_key_value_heads", configuration.KeyValueHeadCount);
        writer.WriteNumber("head_dim", configuration.HeadSize);
        writer.WriteNumber("vocab_size", configuration.VocabularySize);
        writer.WriteNumber("max_position_embeddings", configuration.ContextLength);
        writer.WriteNumber("rms_norm_eps", configuration.NormEpsilon);
    }

    private static void WriteRope(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        writer.WriteNumber("rope_theta", configuration.RopeTheta);
        if (configuration.LocalRopeTheta is { } local)
        {
            writer.WriteNumber("rope_local_base_freq", local);
        }

        if (configuration.PartialRotarySize is { } size)
        {
            writer.WriteNumber("partial_rotary_factor", (double)size / configuration.HeadSize);
        }

        if (configuration.RopeScaling is not { } scaling)
        {
            return;
        }

        if (scaling.Kind == RopeScalingKind.LongRope)
        {
            writer.WriteNumber("original_max_position_embeddings", scaling.OriginalContextLength);
        }

        writer.WriteStartObject("rope_scaling");
        switch (scaling.Kind)
        {
            case RopeScalingKind.LongRope:
                WriteLongRope(writer, scaling);
                break;
            case RopeScalingKind.Llama3:
                writer.WriteString("rope_type", "llama3");
                writer.WriteNumber("factor", scaling.Factor);
                writer.WriteNumber("low_freq_factor", scaling.LowFrequencyFactor);
                writer.WriteNumber("high_freq_factor", scaling.HighFrequencyFactor);
                writer.WriteNumber("original_max_position_embeddings", scaling.OriginalContextLength);
                break;
            default:
                writer.WriteString("rope_type", "linear");
                writer.WriteNumber("factor", scaling.Factor);
                break;
        }

        writer.WriteEndObject();
    }

    private static void WriteLongRope(Utf8JsonWriter writer, RopeScaling scaling)
    {
        // Older readers want these three keys and no other.
        writer.WriteString("type", "longrope");
        WriteNumbers(writer, "short_factor", scaling.ShortFactors);
        WriteNumbers(writer, "long_factor", scaling.LongFactors);
        if (scaling.Magnitude != RopeScaling.LongRopeMagnitude(scaling.Factor, scaling.OriginalContextLength))
        {
            writer.WriteNumber("attention_factor", scaling.Magnitude);
        }
    }

    private static void WriteNumbers(Utf8JsonWriter writer, string key, IReadOnlyList<double> numbers)
    {
        writer.WriteStartArray(key);
        foreach (var number in numbers)
        {
            writer.WriteNumberValue(number);
        }

        writer.WriteEndArray();
    }

    private static void WriteGemma(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        if (configuration.QueryScalar is not { } scalar)
        {
            return;
        }

        writer.WriteNumber("query_pre_attn_scalar", scalar);
        WriteOptional(writer, "attn_logit_softcapping", configuration.AttentionSoftCap);
        WriteOptional(writer, "final_logit_softcapping", configuration.LogitSoftCap);
        if (configuration.Family == ModelFamily.Gemma3 && configuration.FullAttentionPeriod is { } period)
        {
            writer.WriteNumber("sliding_window_pattern", period);
        }

        writer.WriteStartArray("layer_types");
        for (var layer = 0; layer < configuration.LayerCount; layer++)
        {
            writer.WriteStringValue(configuration.SlidingWindowOf(layer) is null ? LayerKinds.Full : LayerKinds.Sliding);
        }

        writer.WriteEndArray();
    }

    private static void WriteOptional(Utf8JsonWriter writer, string key, float? value)
    {
        if (value is { } number)
        {
            writer.WriteNumber(key, number);
        }
        else
        {
            writer.WriteNull(key);
        }
    }

    private static void WriteExperts(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        if (configuration.Experts is not { } experts)
        {
            return;
        }

        var isQwen = configuration.Family == ModelFamily.Qwen3Moe;
        writer.WriteNumber(isQwen ? "num_experts" : "num_local_experts", experts.Count);
        writer.WriteNumber("num_experts_per_tok", experts.PerToken);
        if (isQwen)
        {
            writer.WriteNumber("moe_intermediate_size", configuration.IntermediateSize);
            writer.WriteBoolean("norm_topk_prob", experts.NormalizesWeights);
            writer.WriteNumber("decoder_sparse_step", 1);
        }
    }

    private static void WriteRest(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        writer.WriteBoolean("tie_word_embeddings", configuration.TieWordEmbeddings);
        if (FamilyRules.Of(configuration.Family).HasAttentionBias)
        {
            writer.WriteBoolean("attention_bias", configuration.QueryKeyValueBias);
        }

        if (configuration.Family == ModelFamily.Llama)
        {
            writer.WriteBoolean("mlp_bias", configuration.MlpBias);
        }

        WriteWindow(writer, configuration);
        if (configuration.BeginOfSequence is { } begin)
        {
            writer.WriteNumber("bos_token_id", begin);
        }

        WriteEnds(writer, configuration.EndOfSequence);
        if (configuration.StoredType is { } type)
        {
            // The older key, which every version of the reading tools knows.
            writer.WriteString("torch_dtype", type switch
            {
                TensorElementType.Float16 => "float16",
                TensorElementType.BFloat16 => "bfloat16",
                _ => "float32",
            });
        }
    }

    private static void WriteWindow(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        if (configuration.Family == ModelFamily.Llama)
        {
            return;
        }

        if (configuration.Family is ModelFamily.Qwen2 or ModelFamily.Qwen3 or ModelFamily.Qwen3Moe)
        {
            writer.WriteBoolean("use_sliding_window", configuration.SlidingWindow is not null);
            if (configuration.SlidingWindow is not null && configuration.Family != ModelFamily.Qwen3Moe)
            {
                writer.WriteNumber("max_window_layers", configuration.FirstSlidingLayer);
            }
        }

        if (configuration.SlidingWindow is { } window)
        {
            writer.WriteNumber("sliding_window", window);
        }
        else
        {
            writer.WriteNull("sliding_window");
        }
    }

    private static void WriteEnds(Utf8JsonWriter writer, IReadOnlyList<int> ends)
    {
        if (ends.Count == 1)
        {
            writer.WriteNumber("eos_token_id", ends[0]);
        }
        else if (ends.Count > 1)
        {
            writer.WriteStartArray("eos_token_id");
            foreach (var end in ends)
            {
                writer.WriteNumberValue(end);
            }

            writer.WriteEndArray();
        }
    }
}
