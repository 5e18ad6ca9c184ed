using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Runtime.Tokenization;

namespace Armor.Tests.Shared;

/// <summary>A tokenizer for test models: printable ASCII has its own code as id, other bytes the ids left; the start of a sequence is 256, more special tokens follow.</summary>
internal static class ByteTokenizer
{
    public static ModelTokenizer Write(string folder, params string[] specialTokens)
    {
        string[] special = ["<s>", .. specialTokens];
        var vocabulary = new JsonObject();
        for (int value = 0; value < 256; value++)
        {
            bool printable = value is (> 32 and < 127) or (> 160 and not 173);
            char character = (char)(printable ? value : 256 + Enumerable.Range(0, value).Count(lower => lower is not ((> 32 and < 127) or (> 160 and not 173))));
            vocabulary[character.ToString()] = value;
        }

        var file = new JsonObject
        {
            ["added_tokens"] = new JsonArray([.. special.Select((token, index) =>
                (JsonNode)new JsonObject { ["id"] = 256 + index, ["content"] = token, ["special"] = true })]),
            ["pre_tokenizer"] = JsonNode.Parse("""{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}"""),
            ["post_processor"] = JsonNode.Parse("""{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}"""),
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = new JsonArray() },
        };
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), file.ToJsonString(JsonSerializerOptions.Default));
        return ModelTokenizer.Load(folder);
    }
}
