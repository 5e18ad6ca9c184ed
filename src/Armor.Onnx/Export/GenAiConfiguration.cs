using System.Text.Json.Nodes;
using Armor.Runtime.Models;

namespace Armor.Onnx.Export;

/// <summary>The <c>genai_config.json</c> that ONNX Runtime GenAI finds a model's inputs and outputs by.</summary>
internal static class GenAiConfiguration
{
    /// <summary>Describes an exported decoder.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="source">Its <c>config.json</c>.</param>
    public static JsonObject Create(ModelConfiguration configuration, JsonObject source)
    {
        int[] ends = [.. configuration.EndOfSequence];
        JsonNode? end = ends.Length switch
        {
            0 => null,
            1 => ends[0],
            _ => new JsonArray([.. ends.Select(token => (JsonNode)token)]),
        };
        return new JsonObject
        {
            ["model"] = new JsonObject
            {
                ["bos_token_id"] = configuration.BeginOfSequence ?? 0,
                ["context_length"] = configuration.ContextLength,
                ["decoder"] = new JsonObject
                {
                    ["session_options"] = new JsonObject { ["log_id"] = "onnxruntime-genai", ["provider_options"] = new JsonArray() },
                    ["filename"] = OnnxExporter.ModelFileName,
                    ["head_size"] = configuration.HeadSize,
                    ["hidden_size"] = configuration.HiddenSize,
                    ["inputs"] = new JsonObject
                    {
                        ["input_ids"] = "input_ids",
                        ["attention_mask"] = "attention_mask",
                        ["past_key_names"] = "past_key_values.%d.key",
                        ["past_value_names"] = "past_key_values.%d.value",
                    },
                    ["outputs"] = new JsonObject
                    {
                        ["logits"] = "logits",
                        ["present_key_names"] = "present.%d.key",
                        ["present_value_names"] = "present.%d.value",
                    },
                    ["num_attention_heads"] = configuration.AttentionHeadCount,
                    ["num_hidden_layers"] = configuration.LayerCount,
                    ["num_key_value_heads"] = configuration.KeyValueHeadCount,
                },
                ["eos_token_id"] = end ?? configuration.VocabularySize - 1,
                ["pad_token_id"] = source["pad_token_id"]?.DeepClone() ?? (ends.Length > 0 ? ends[0] : 0),
                ["type"] = configuration.Family.ToString().ToLowerInvariant(),
                ["vocab_size"] = configuration.VocabularySize,
            },
            ["search"] = new JsonObject
            {
                ["do_sample"] = false,
                ["max_length"] = configuration.ContextLength,
                ["num_beams"] = 1,
                ["past_present_share_buffer"] = false,
            },
        };
    }
}
