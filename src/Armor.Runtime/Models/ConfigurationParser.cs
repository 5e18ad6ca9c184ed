using System.Text.Json;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Models;

/// <summary>From the keys of <c>config.json</c> to a <see cref="ModelConfiguration"/>; defaults are those of the families' own classes.</summary>
internal static class ConfigurationParser
{
    // Far above every published model, and small enough that no product of two overflows.
    private const int MaximumWidth = 1 << 20;
    private const int MaximumVocabulary = 1 << 24;
    private const int MaximumLayers = 1 << 14;
    private const int MaximumContext = 1 << 30;

    private static readonly Dictionary<string, ModelFamily> s_families = new(StringComparer.Ordinal)
    {
        ["llama"] = ModelFamily.Llama,
        ["mistral"] = ModelFamily.Mistral,
        ["qwen2"] = ModelFamily.Qwen2,
        ["qwen3"] = ModelFamily.Qwen3,
    };

    /// <summary>The <c>model_type</c> of a family.</summary>
    public static string NameOf(ModelFamily family) => s_families.First(entry => entry.Value == family).Key;

    public static ModelConfiguration Parse(JsonElement root, string source)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException(source, "the configuration is not a JSON object", null, "an object", root.ValueKind.ToString());
        }

        var violations = new List<string>();
        var reader = new ConfigurationReader(root, "", violations);
        var family = ReadFamily(reader);
        var configuration = Read(reader, family);
        if (violations.Count > 0)
        {
            throw new CheckpointException(source, string.Join("; ", violations));
        }

        return configuration;
    }

    private static ModelFamily ReadFamily(ConfigurationReader reader)
    {
        var expected = $"one of {string.Join(", ", s_families.Keys.Select(name => $"\"{name}\""))}";
        if (!reader.Has("model_type"))
        {
            reader.Note("model_type", expected, "nothing");
        }
        else if (reader.Text("model_type") is { } name)
        {
            if (s_families.TryGetValue(name, out var family))
            {
                return family;
            }

            reader.Note("model_type", expected, $"\"{name}\"");
        }

        return ModelFamily.Llama;
    }

    private static ModelConfiguration Read(ConfigurationReader reader, ModelFamily family)
    {
        var hidden = reader.Size("hidden_size", MaximumWidth);
        var heads = reader.Size("num_attention_heads", MaximumWidth);
        var keyValueHeads = ReadKeyValueHeads(reader, family, heads);
        var headSize = ReadHeadSize(reader, family, hidden, heads);
        var layers = reader.Size("num_hidden_layers", MaximumLayers);
        var vocabulary = reader.Size("vocab_size", MaximumVocabulary);
        var context = reader.Size("max_position_embeddings", MaximumContext);
        RefuseWhatWeDoNotCompute(reader);

        var (theta, scaling) = RopeParser.Read(reader, context);
        var (window, firstSliding) = SlidingWindowParser.Read(reader, family, layers);
        var attentionBias = family is ModelFamily.Llama or ModelFamily.Qwen3 && reader.Flag("attention_bias", false);
        return new ModelConfiguration
        {
            Family = family,
            HiddenSize = hidden,
            IntermediateSize = reader.Size("intermediate_size", MaximumWidth),
            LayerCount = layers,
            AttentionHeadCount = heads,
            KeyValueHeadCount = keyValueHeads,
            HeadSize = headSize,
            VocabularySize = vocabulary,
            ContextLength = context,
            NormEpsilon = (float)reader.Number("rms_norm_eps", 1e-6, value => value is > 0 and < 1, "a number above 0 and below 1"),
            RopeTheta = theta,
            RopeScaling = scaling,
            TieWordEmbeddings = reader.Flag("tie_word_embeddings", false),
            QueryKeyValueBias = attentionBias || family == ModelFamily.Qwen2,
            OutputBias = attentionBias,
            MlpBias = family == ModelFamily.Llama && reader.Flag("mlp_bias", false),
            QueryKeyNorm = family == ModelFamily.Qwen3,
            BeginOfSequence = reader.Tokens("bos_token_id", Math.Max(vocabulary, 1)) is [var first, ..] ? first : null,
            EndOfSequence = reader.Tokens("eos_token_id", Math.Max(vocabulary, 1)),
            SlidingWindow = window,
            FirstSlidingLayer = firstSliding,
            StoredType = ReadStoredType(reader),
        };
    }

    private static int ReadKeyValueHeads(ConfigurationReader reader, ModelFamily family, int heads)
    {
        // Mistral's and Qwen's classes default to the head count of one published model: a file without the key is not to be guessed at.
        var isOptional = family == ModelFamily.Llama || reader.Has("num_key_value_heads");
        var keyValueHeads = reader.Size("num_key_value_heads", MaximumWidth, isOptional ? heads : null);
        if (heads > 0 && keyValueHeads > 0 && heads % keyValueHeads != 0)
        {
            reader.Note("num_key_value_heads", $"a divisor of num_attention_heads ({heads})", $"{keyValueHeads}");
        }

        return keyValueHeads;
    }

    private static int ReadHeadSize(ConfigurationReader reader, ModelFamily family, int hidden, int heads)
    {
        int headSize;
        if (reader.Find("head_dim") is not null)
        {
            headSize = reader.Size("head_dim", MaximumWidth);
        }
        else if (family == ModelFamily.Qwen3)
        {
            headSize = 128;
        }
        else
        {
            if (heads > 0 && hidden > 0 && hidden % heads != 0)
            {
                reader.Note("hidden_size", $"a multiple of num_attention_heads ({heads}), as head_dim is absent", $"{hidden}");
                return 0;
            }

            headSize = heads > 0 ? hidden / heads : 0;
        }

        if (headSize % 2 != 0)
        {
            reader.Note("head_dim", "an even number", $"{headSize}");
        }

        if ((long)heads * headSize > MaximumWidth)
        {
            reader.Note("num_attention_heads", $"heads x head_dim of at most {MaximumWidth}", $"{(long)heads * headSize}");
        }

        return headSize;
    }

    /// <summary>Keys that change the mathematics in ways that neither forward pass knows: refused rather than computed wrongly.</summary>
    private static void RefuseWhatWeDoNotCompute(ConfigurationReader reader)
    {
        if (reader.Text("hidden_act") is { } activation && activation is not ("silu" or "swish"))
        {
            reader.Note("hidden_act", "\"silu\"", $"\"{activation}\"");
        }

        if (reader.Find("quantization_config") is not null)
        {
            reader.Note("quantization_config", "nothing (an unquantised checkpoint)", "a quantisation");
        }

        reader.Number("partial_rotary_factor", 1, value => value == 1, "1");
    }

    private static TensorElementType? ReadStoredType(ConfigurationReader reader)
    {
        var key = reader.Find("dtype") is not null ? "dtype" : "torch_dtype";
        switch (reader.Text(key))
        {
            case null or "auto":
                return null;
            case "float32" or "float":
                return TensorElementType.Float32;
            case "float16" or "half":
                return TensorElementType.Float16;
            case "bfloat16":
                return TensorElementType.BFloat16;
            case var other:
                reader.Note(key, "\"float32\", \"float16\" or \"bfloat16\"", $"\"{other}\"");
                return null;
        }
    }
}
