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
        writer.WriteString("model_type", ConfigurationParser.NameOf(configuration.Family));
    }

    private static void WriteSizes(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        writer.WriteString("hidden_act", "silu");
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
        if (configuration.RopeScaling is not { } scaling)
        {
            return;
        }

        writer.WriteStartObject("rope_scaling");
        writer.WriteString("rope_type", scaling.Kind == RopeScalingKind.Linear ? "linear" : "llama3");
        writer.WriteNumber("factor", scaling.Factor);
        if (scaling.Kind == RopeScalingKind.Llama3)
        {
            writer.WriteNumber("low_freq_factor", scaling.LowFrequencyFactor);
            writer.WriteNumber("high_freq_factor", scaling.HighFrequencyFactor);
            writer.WriteNumber("original_max_position_embeddings", scaling.OriginalContextLength);
        }

        writer.WriteEndObject();
    }

    private static void WriteRest(Utf8JsonWriter writer, ModelConfiguration configuration)
    {
        writer.WriteBoolean("tie_word_embeddings", configuration.TieWordEmbeddings);
        if (configuration.Family is ModelFamily.Llama or ModelFamily.Qwen3)
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

        if (configuration.Family != ModelFamily.Mistral)
        {
            writer.WriteBoolean("use_sliding_window", configuration.SlidingWindow is not null);
            if (configuration.SlidingWindow is not null)
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
