using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Armor.TinyModel.Tokenizers;

/// <summary>Writes and reads <c>tokenizer.json</c> and <c>tokenizer_config.json</c> in the layout of Hugging Face's tokenizers.</summary>
internal static class TokenizerFiles
{
    private static readonly JsonSerializerOptions s_readable = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Write(BytePairVocabulary vocabulary, string folder, int contextLength)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), Describe(vocabulary).ToJsonString(s_readable) + "\n");
        var configuration = new JsonObject
        {
            ["tokenizer_class"] = "PreTrainedTokenizerFast",
            ["bos_token"] = BytePairVocabulary.BeginText,
            ["eos_token"] = BytePairVocabulary.EndText,
            ["clean_up_tokenization_spaces"] = false,
            ["model_input_names"] = new JsonArray("input_ids", "attention_mask"),
            ["model_max_length"] = contextLength,
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), configuration.ToJsonString(s_readable) + "\n");
    }

    /// <summary>Reads back what <see cref="Write"/> wrote.</summary>
    public static BytePairVocabulary Read(string folder)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer.json")));
        var model = document.RootElement.GetProperty("model");
        var tokens = model.GetProperty("vocab").EnumerateObject().ToDictionary(entry => entry.Name, entry => entry.Value.GetInt32());
        // The bytes are numbered by value, so the printable spellings give the same numbers back.
        var merges = model.GetProperty("merges").EnumerateArray().Select(merge => merge.GetString()!.Split(' '));
        return new BytePairVocabulary([.. merges.Select(pair => (tokens[pair[0]], tokens[pair[1]]))]);
    }

    private static JsonObject Describe(BytePairVocabulary vocabulary)
    {
        var words = new JsonObject();
        for (var token = 0; token < vocabulary.Tokens.Count; token++)
        {
            words[vocabulary.Spell(token)] = token;
        }

        var merges = new JsonArray();
        foreach (var (left, right) in vocabulary.Merges)
        {
            merges.Add($"{vocabulary.Spell(left)} {vocabulary.Spell(right)}");
        }

        return new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray(
                Special(vocabulary.BeginToken, BytePairVocabulary.BeginText), Special(vocabulary.EndToken, BytePairVocabulary.EndText)),
            ["normalizer"] = null,
            ["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(
                    new JsonObject
                    {
                        ["type"] = "Split",
                        ["pattern"] = new JsonObject { ["Regex"] = BytePairVocabulary.PiecePattern },
                        ["behavior"] = "Isolated",
                        ["invert"] = false,
                    },
                    ByteLevel(addPrefixSpace: false, useRegex: false)),
            },
            ["post_processor"] = Template(vocabulary),
            ["decoder"] = ByteLevel(addPrefixSpace: true, useRegex: true),
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["dropout"] = null,
                ["unk_token"] = null,
                ["continuing_subword_prefix"] = null,
                ["end_of_word_suffix"] = null,
                ["fuse_unk"] = false,
                ["byte_fallback"] = false,
                ["ignore_merges"] = false,
                ["vocab"] = words,
                ["merges"] = merges,
            },
        };
    }

    private static JsonObject Special(int token, string content) => new()
    {
        ["id"] = token,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static JsonObject ByteLevel(bool addPrefixSpace, bool useRegex) => new()
    {
        ["type"] = "ByteLevel",
        ["add_prefix_space"] = addPrefixSpace,
        ["trim_offsets"] = true,
        ["use_regex"] = useRegex,
    };

    /// <summary>The post-processor that puts the begin token before a text, or before each of two.</summary>
    private static JsonObject Template(BytePairVocabulary vocabulary)
    {
        static JsonObject Begin(int type) => new() { ["SpecialToken"] = new JsonObject { ["id"] = BytePairVocabulary.BeginText, ["type_id"] = type } };
        static JsonObject Text(string name, int type) => new() { ["Sequence"] = new JsonObject { ["id"] = name, ["type_id"] = type } };
        return new JsonObject
        {
            ["type"] = "TemplateProcessing",
            ["single"] = new JsonArray(Begin(0), Text("A", 0)),
            ["pair"] = new JsonArray(Begin(0), Text("A", 0), Begin(1), Text("B", 1)),
            ["special_tokens"] = new JsonObject
            {
                [BytePairVocabulary.BeginText] = new JsonObject
                {
                    ["id"] = BytePairVocabulary.BeginText,
                    ["ids"] = new JsonArray(vocabulary.BeginToken),
                    ["tokens"] = new JsonArray(BytePairVocabulary.BeginText),
                },
            },
        };
    }
}
