using System.Text.Json;

namespace Armor.Runtime.Models;

/// <summary>The keys of a mixture of experts. Layers without one between those that have it (Qwen's <c>mlp_only_layers</c>) are refused.</summary>
internal static class ExpertParser
{
    private const int MaximumCount = 1 << 12;

    // Far above every published model; keeps the list of a hostile file's tensors short.
    private const int MaximumInAll = 1 << 16;

    public static ExpertConfiguration? Read(ConfigurationReader reader, ModelFamily family, int layers)
    {
        if (family is not (ModelFamily.Mixtral or ModelFamily.Qwen3Moe))
        {
            return null;
        }

        // Two names of one thing; newer tools write either.
        var key = reader.Find("num_experts") is not null ? "num_experts" : "num_local_experts";
        var count = reader.Size(key, MaximumCount);
        var perToken = reader.Size("num_experts_per_tok", Math.Max(count, 1));
        if ((long)count * layers > MaximumInAll)
        {
            reader.Note(key, $"experts x num_hidden_layers of at most {MaximumInAll}", $"{(long)count * layers}");
        }

        if (family == ModelFamily.Mixtral)
        {
            return new ExpertConfiguration(count, perToken, NormalizesWeights: true);
        }

        reader.Number("decoder_sparse_step", 1, value => value == 1, "1 (experts in every layer)");
        if (reader.Find("mlp_only_layers") is { } plain && (plain.ValueKind != JsonValueKind.Array || plain.GetArrayLength() > 0))
        {
            reader.Note("mlp_only_layers", "an empty array (experts in every layer)", ConfigurationReader.Show(plain));
        }

        return new ExpertConfiguration(count, perToken, reader.Flag("norm_topk_prob", false));
    }
}
