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

    public static ModelConfiguration Parse(JsonElement root, string source)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException(source, "the configuration is not a JSON object", null, "an object", root.ValueKind.ToString());
        }

        var violations = new List<string>();
        var reader = new ConfigurationReader(root, "", violations);
        var configuration = Read(reader, ReadFamily(reader));
        if (violations.Count > 0)
        {
            throw new CheckpointException(source, string.Join("; ", violations));
        }

        return configuration;
    }

    private static FamilyRules ReadFamily(ConfigurationReader reader)
    {
        var expected = $"one of {string.Join(", ", FamilyRules.Types.Select(name => $"\"{name}\""))}";
        if (!reader.Has("model_type"))
        {
            reader.Note("model_type", expected, "nothing");
        }
        else if (reader.Text("model_type") is { } name)
        {
            if (FamilyRules.Find(name) is { } rules)
            {
                return rules;
            }

            reader.Note("model_type", expected, name == "gemma3" ? "\"gemma3\", which reads images besides; only its text models are computed" : $"\"{name}\"");
        }

        return FamilyRules.Of(ModelFamily.Llama);
    }

    private static ModelConfiguration Read(ConfigurationReader reader, FamilyRules rules)
    {
        var family = rules.Family;
        var hidden = reader.Size("hidden_size", MaximumWidth);
        var heads = reader.Size("num_attention_heads", MaximumWidth);
        var keyValueHeads = ReadKeyValueHeads(reader, rules, heads);
        var headSize = ReadHeadSize(reader, rules, hidden, heads);
        var layers = reader.Size("num_hidden_layers", MaximumLayers);
        var vocabulary = reader.Size("vocab_size", MaximumVocabulary);
        var context = reader.Size("max_position_embeddings", MaximumContext);
        RefuseWhatWeDoNotCompute(reader, rules);

        var rope = RopeParser.Read(reader, rules, context, headSize);
        var window = SlidingWindowParser.Read(reader, family, layers);
        var attentionBias = rules.HasAttentionBias && reader.Flag("attention_bias", false);
        var isGemma = family is ModelFamily.Gemma2 or ModelFamily.Gemma3;
        return new ModelConfiguration
        {
            Family = family,
            HiddenSize = hidden,
            IntermediateSize = reader.Size(family == ModelFamily.Qwen3Moe ? "moe_intermediate_size" : "intermediate_size", MaximumWidth),
            LayerCount = layers,
            AttentionHeadCount = heads,
            KeyValueHeadCount = keyValueHeads,
            HeadSize = headSize,
            VocabularySize = vocabulary,
            ContextLength = context,
            NormEpsilon = (float)reader.Number("rms_norm_eps", rules.Epsilon, value => value is > 0 and < 1, "a number above 0 and below 1"),
            RopeTheta = rope.Theta,
            RopeScaling = rope.Scaling,
            LocalRopeTheta = rope.LocalTheta,
            PartialRotarySize = rope.PartialSize,
            QueryScalar = isGemma ? reader.Number("query_pre_attn_scalar", 256, value => value > 0, "a number above 0") : null,
            AttentionSoftCap = isGemma ? ReadSoftCap(reader, "attn_logit_softcapping", family == ModelFamily.Gemma2 ? 50 : null) : null,
            LogitSoftCap = isGemma ? ReadSoftCap(reader, "final_logit_softcapping", family == ModelFamily.Gemma2 ? 30 : null) : null,
            Experts = ExpertParser.Read(reader, family, layers),
            TieWordEmbeddings = reader.Flag("tie_word_embeddings", rules.TiesEmbeddings),
            QueryKeyValueBias = attentionBias || family == ModelFamily.Qwen2,
            OutputBias = attentionBias,
            MlpBias = family == ModelFamily.Llama && reader.Flag("mlp_bias", false),
            QueryKeyNorm = family is ModelFamily.Qwen3 or ModelFamily.Gemma3 or ModelFamily.Qwen3Moe,
            BeginOfSequence = reader.Tokens("bos_token_id", Math.Max(vocabulary, 1)) is [var first, ..] ? first : null,
            EndOfSequence = reader.Tokens("eos_token_id", Math.Max(vocabulary, 1)),
            SlidingWindow = window.Window,
            FirstSlidingLayer = window.FirstLayer,
            FullAttentionPeriod = window.FullPeriod,
            StoredType = ReadStoredType(reader),
        };
    }

    private static int ReadKeyValueHeads(ConfigurationReader reader, FamilyRules rules, int heads)
    {
        var isOptional = rules.KeyValueHeadsMayBeAbsent || reader.Has("num_key_value_heads");
        var keyValueHeads = reader.Size("num_key_value_heads", MaximumWidth, isOptional ? heads : null);
        if (heads > 0 && keyValueHeads > 0 && heads % keyValueHeads != 0)
        {
            reader.Note("num_key_value_heads", $"a divisor of num_attention_heads ({heads})", $"{keyValueHeads}");
        }

        return keyValueHeads;
    }

    private static int ReadHeadSize(ConfigurationReader reader, FamilyRules rules, int hidden, int heads)
    {
        int headSize;
        if (reader.Find("head_dim") is not null)
        {
            headSize = reader.Size("head_dim", MaximumWidth);
        }
        else if (rules.HeadSize is { } size)
        {
            headSize = size;
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

    /// <summary>A cap that is absent has the class's default; one that is null is none.</summary>
    private static float? ReadSoftCap(ConfigurationReader reader, string key, float? absent) =>
        !reader.Has(key) ? absent
        : reader.Find(key) is null ? null
        : (float)reader.Number(key, 1, value => value > 0, "a number above 0");

    /// <summary>Keys that change the mathematics in ways that neither forward pass knows: refused rather than computed wrongly.</summary>
    private static void RefuseWhatWeDoNotCompute(ConfigurationReader reader, FamilyRules rules)
    {
        var (key, names) = rules.Activation;
        if (reader.Text(key) is { } activation && !names.Contains(activation))
        {
            reader.Note(key, $"\"{names[0]}\"", $"\"{activation}\"");
        }

        if (reader.Find("quantization_config") is not null)
        {
            reader.Note("quantization_config", "nothing (an unquantised checkpoint)", "a quantisation");
        }

        foreach (var flag in rules.MustBeFalse.Where(flag => reader.Flag(flag, false)))
        {
            reader.Note(flag, "false", "true");
        }
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
