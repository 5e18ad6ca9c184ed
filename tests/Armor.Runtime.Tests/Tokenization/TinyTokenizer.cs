using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Armor.Runtime.Tests.Tokenization;

/// <summary>Small tokenizer.json files, whole enough for the loader, to be bent in tests.</summary>
internal static class TinyTokenizer
{
    /// <summary>Byte-level BPE: 256 bytes in order of value, then one token a merge, then the special tokens.</summary>
    public static JsonObject ByteLevel(IEnumerable<(string Left, string Right)> merges, string? pattern = null, string? begin = "<s>", bool pairs = false)
    {
        var vocabulary = new JsonObject();
        foreach (char character in ByteCharacters())
        {
            vocabulary[character.ToString()] = vocabulary.Count;
        }

        JsonArray rules = AddMerges(vocabulary, merges, pairs);
        int first = vocabulary.Count;
        JsonNode split = pattern is null
            ? Parse("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}""")
            : new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(
                    new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = pattern }, ["behavior"] = "Isolated", ["invert"] = false },
                    Parse("""{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}""")),
            };
        return Compose(vocabulary, rules, split, normalizer: null, [("<s>", first, true), ("</s>", first + 1, true), ("<think>", first + 2, false)], begin, first);
    }

    /// <summary>Byte-fallback BPE in the manner of Llama 2: unknown, start and end, 256 bytes, the characters, one token a merge.</summary>
    public static JsonObject ByteFallback(string characters, IEnumerable<(string Left, string Right)> merges)
    {
        var vocabulary = new JsonObject { ["<unk>"] = 0, ["<s>"] = 1, ["</s>"] = 2 };
        for (int value = 0; value < 256; value++)
        {
            vocabulary[$"<0x{value:X2}>"] = vocabulary.Count;
        }

        foreach (Rune character in characters.EnumerateRunes())
        {
            vocabulary[character.ToString()] = vocabulary.Count;
        }

        JsonArray rules = AddMerges(vocabulary, merges, pairs: false);
        JsonNode normalizer = Parse(
            """{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}""");
        JsonObject file = Compose(vocabulary, rules, null, normalizer, [("<unk>", 0, true), ("<s>", 1, true), ("</s>", 2, true)], "<s>", 1);
        file["model"]!["byte_fallback"] = true;
        file["model"]!["unk_token"] = "<unk>";
        return file;
    }

    public static void Write(string folder, JsonNode file) =>
        File.WriteAllText(System.IO.Path.Combine(folder, "tokenizer.json"), file.ToJsonString(new JsonSerializerOptions { WriteIndented = false }));

    /// <summary>GPT-2's byte alphabet, written here a second time so that the tests do not lean on the library's.</summary>
    public static char[] ByteCharacters()
    {
        var characters = new char[256];
        int next = 0;
        for (int value = 0; value < 256; value++)
        {
            bool printable = (value > 32 && value < 127) || (value > 160 && value != 173);
            characters[value] = printable ? (char)value : (char)(256 + next++);
        }

        return characters;
    }

    private static JsonNode Parse(string json) => JsonNode.Parse(json)!;

    private static JsonArray AddMerges(JsonObject vocabulary, IEnumerable<(string Left, string Right)> merges, bool pairs)
    {
        var rules = new JsonArray();
        foreach ((string left, string right) in merges)
        {
            rules.Add(pairs ? new JsonArray(left, right) : JsonValue.Create($"{left} {right}"));
            if (!vocabulary.ContainsKey(left + right))
            {
                vocabulary[left + right] = vocabulary.Count;
            }
        }

        return rules;
    }

    private static JsonObject Compose(
        JsonObject vocabulary, JsonArray merges, JsonNode? split, JsonNode? normalizer, (string Content, int Id, bool Special)[] added, string? begin, int beginId)
    {
        var tokens = new JsonArray();
        foreach ((string content, int id, bool special) in added)
        {
            tokens.Add(new JsonObject { ["id"] = id, ["content"] = content, ["special"] = special });
        }

        JsonNode? template = begin is null ? null : new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray(
                new JsonObject { ["SpecialToken"] = new JsonObject { ["id"] = begin, ["type_id"] = 0 } },
                new JsonObject { ["Sequence"] = new JsonObject { ["id"] = "A", ["type_id"] = 0 } }),
            ["special_tokens"] = new JsonObject { [begin] = new JsonObject { ["id"] = begin, ["ids"] = new JsonArray(beginId) } },
        };
        return new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = tokens,
            ["normalizer"] = normalizer,
            ["pre_tokenizer"] = split,
            ["post_processor"] = template,
            ["model"] = new JsonObject { ["type"] = "BPE", ["vocab"] = vocabulary, ["merges"] = merges },
        };
    }
}
