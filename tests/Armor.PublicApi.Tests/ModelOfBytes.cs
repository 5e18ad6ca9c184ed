using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Core.Modules;
using Armor.Runtime.Models;

namespace Armor.PublicApi.Tests;

/// <summary>A random Llama of two layers whose tokens are bytes: enough for a run from text to text.</summary>
internal static class ModelOfBytes
{
    private const int StartOfSequence = 256;

    internal static void Write(string folder)
    {
        var configuration = new JsonObject
        {
            ["model_type"] = "llama", ["hidden_size"] = 32, ["intermediate_size"] = 64, ["num_hidden_layers"] = 2, ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2, ["vocab_size"] = StartOfSequence + 1, ["max_position_embeddings"] = 128, ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0, ["tie_word_embeddings"] = true, ["bos_token_id"] = StartOfSequence,
        };
        using (var model = new CausalLanguageModel(ModelConfiguration.Parse(configuration.ToJsonString(), nameof(ModelOfBytes)), seed: 8))
        {
            model.Save(folder);
        }

        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), Tokenizer().ToJsonString(JsonSerializerOptions.Default));
    }

    // Byte-level BPE without merges: every byte is the token of its number.
    private static JsonObject Tokenizer()
    {
        var vocabulary = new JsonObject();
        int next = StartOfSequence;
        for (int value = 0; value < 256; value++)
        {
            // The byte-level alphabet: printable bytes stand for themselves, the others for the characters from U+0100 on, in order.
            bool printable = value is (> 32 and < 127) or (> 160 and not 173);
            char letter = (char)(printable ? value : next++);
            vocabulary[letter.ToString()] = value;
        }

        return new JsonObject
        {
            ["added_tokens"] = new JsonArray(new JsonObject { ["id"] = StartOfSequence, ["content"] = "<s>", ["special"] = true }),
            ["pre_tokenizer"] = new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = true },
            ["post_processor"] = JsonNode.Parse("""{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}"""),
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
    }
}
