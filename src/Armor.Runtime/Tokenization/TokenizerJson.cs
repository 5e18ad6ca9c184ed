using System.Text.Json;

namespace Armor.Runtime.Tokenization;

/// <summary>Reads a <c>tokenizer.json</c>, trusting nothing that it says.</summary>
internal static class TokenizerJson
{
    /// <summary>Twenty times the largest published file.</summary>
    private const long MaximumFileSize = 512L << 20;

    internal static TokenizerDefinition Read(string path)
    {
        using JsonDocument document = Parse(path);
        var root = new JsonReading(path, string.Empty, document.RootElement);
        JsonReading model = root.Object("model");
        CheckKind(root, model);

        Dictionary<string, int> vocabulary = ReadVocabulary(model);
        PieceSplitter splitter = PieceSplitter.Read(root.Optional("pre_tokenizer"));
        TextNormalizer normalizer = TextNormalizer.Read(root.Optional("normalizer"));
        bool byteFallback = model.Flag("byte_fallback");
        if (splitter.ByteLevel == byteFallback)
        {
            throw TokenizerErrors.Create(
                path, "the kind of BPE is not supported", "byte-level (a ByteLevel pre-tokenizer) or byte-fallback ('model.byte_fallback': true)",
                byteFallback ? "both" : "neither");
        }

        List<AddedToken> added = ReadAddedTokens(root, vocabulary);
        JsonReading unknown = model.Optional("unk_token");
        return new TokenizerDefinition
        {
            Source = path,
            Vocabulary = vocabulary,
            Merges = ReadMerges(model, vocabulary),
            ByteLevel = splitter.ByteLevel,
            ByteFallback = byteFallback,
            IgnoreMerges = model.Flag("ignore_merges"),
            UnknownToken = !unknown.IsNull && vocabulary.TryGetValue(unknown.AsString(), out int id) ? id : null,
            Normalizer = normalizer,
            Splitter = splitter,
            AddedTokens = added,
            BeginOfSequence = ReadBeginOfSequence(root, path, vocabulary, added),
            PrependsSpace = normalizer.PrependsSpace || splitter.PrependsSpace,
        };
    }

    internal static JsonDocument Parse(string path)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return stream.Length <= MaximumFileSize
                ? JsonDocument.Parse(stream, new JsonDocumentOptions { MaxDepth = 64 })
                : throw TokenizerErrors.Create(path, "the file is too large", $"at most {MaximumFileSize} bytes", $"{stream.Length} bytes");
        }
        catch (JsonException exception)
        {
            throw TokenizerErrors.Create(path, "not valid JSON", "a JSON object", exception.Message, exception);
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException or (IOException and not Checkpoints.CheckpointException))
        {
            throw TokenizerErrors.Create(path, "cannot be read", "a readable file", exception.Message, exception);
        }
    }

    private static void CheckKind(JsonReading root, JsonReading model)
    {
        // Files older than the "type" member of BPE models are told by their merges.
        JsonReading type = model.Optional("type");
        string kind = !type.IsNull ? type.AsString() : model.Optional("merges").IsNull ? "no 'model.type' and no merges" : "BPE";
        if (kind != "BPE")
        {
            throw TokenizerErrors.Create(root.File, "the kind of tokenizer is not supported", "BPE, byte-level or byte-fallback", kind);
        }

        foreach (string key in (string[])["continuing_subword_prefix", "end_of_word_suffix"])
        {
            if (!model.Optional(key).IsNull && model.String(key).Length > 0)
            {
                throw TokenizerErrors.Create(root.File, $"'model.{key}' is not supported", "null or an empty text", model.String(key));
            }
        }

        JsonReading dropout = model.Optional("dropout");
        if (!dropout.IsNull && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.TryGetDouble(out double rate) && rate == 0))
        {
            throw TokenizerErrors.Create(root.File, "'model.dropout' is not supported", "null or 0", dropout.Element.GetRawText());
        }
    }

    private static Dictionary<string, int> ReadVocabulary(JsonReading model)
    {
        JsonReading table = model.Object("vocab");
        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        var owners = new Dictionary<int, string>();
        try
        {
            foreach (JsonProperty entry in table.Element.EnumerateObject())
            {
                int id = JsonReading.AsTokenId(model.File, $"'model.vocab' entry '{TokenizerErrors.Shorten(entry.Name)}'", entry.Value);
                if (!vocabulary.TryAdd(entry.Name, id) || !owners.TryAdd(id, entry.Name))
                {
                    throw TokenizerErrors.Create(
                        model.File, "'model.vocab' repeats itself", "every token and every id once",
                        $"'{entry.Name}' with id {id}" + (owners.TryGetValue(id, out string? other) ? $", which '{other}' has" : string.Empty));
                }
            }
        }
        catch (InvalidOperationException exception)
        {
            throw TokenizerErrors.Create(model.File, "'model.vocab' has a name that is not well-formed", "well-formed UTF-16", exception.Message, exception);
        }

        return vocabulary.Count > 0 ? vocabulary : throw TokenizerErrors.Create(model.File, "'model.vocab' is empty", "at least one token", "none");
    }

    private static List<MergeRule> ReadMerges(JsonReading model, Dictionary<string, int> vocabulary)
    {
        var rules = new List<MergeRule>();
        foreach (JsonReading item in model.Array("merges"))
        {
            (string left, string right) = ReadPair(item);
            rules.Add(new MergeRule(Find(left), Find(right), Find(left + right), rules.Count));

            int Find(string token) => vocabulary.TryGetValue(token, out int id)
                ? id
                : throw TokenizerErrors.Create(
                    item.File, $"'{item.Place}' names a token that the vocabulary lacks", "both parts and their union in 'model.vocab'", $"'{token}'");
        }

        return rules;
    }

    private static (string Left, string Right) ReadPair(JsonReading item)
    {
        if (item.Element.ValueKind == JsonValueKind.Array && item.Element.GetArrayLength() == 2)
        {
            return (new JsonReading(item.File, item.Place, item.Element[0]).AsString(), new JsonReading(item.File, item.Place, item.Element[1]).AsString());
        }

        if (item.Element.ValueKind == JsonValueKind.String)
        {
            string text = item.AsString();
            int space = text.IndexOf(' ', StringComparison.Ordinal);
            if (space > 0 && space < text.Length - 1 && text.IndexOf(' ', space + 1) < 0)
            {
                return (text[..space], text[(space + 1)..]);
            }
        }

        throw TokenizerErrors.Create(item.File, $"'{item.Place}' is no merge", "\"a b\" or [\"a\", \"b\"]", item.Element.GetRawText());
    }

    private static List<AddedToken> ReadAddedTokens(JsonReading root, Dictionary<string, int> vocabulary)
    {
        var tokens = new List<AddedToken>();
        if (root.Optional("added_tokens").IsNull)
        {
            return tokens;
        }

        Dictionary<int, string> owners = vocabulary.ToDictionary(entry => entry.Value, entry => entry.Key);
        foreach (JsonReading item in root.Array("added_tokens"))
        {
            var token = new AddedToken(
                item.TokenId("id"), item.String("content"), item.Flag("special"), item.Flag("lstrip"), item.Flag("rstrip"), item.Flag("single_word"));
            bool elsewhere = vocabulary.TryGetValue(token.Content, out int id) && id != token.Id;
            if (elsewhere || (owners.TryGetValue(token.Id, out string? owner) && owner != token.Content))
            {
                throw TokenizerErrors.Create(
                    root.File, $"'{item.Place}' contradicts the vocabulary", "one id a token and one token an id", $"'{token.Content}' with id {token.Id}");
            }

            owners[token.Id] = token.Content;
            tokens.Add(token);
        }

        return tokens;
    }

    /// <summary>The special token before the text in the post-processor's template; where there is no template, tokenizer_config.json's word.</summary>
    private static int? ReadBeginOfSequence(JsonReading root, string path, Dictionary<string, int> vocabulary, List<AddedToken> added)
    {
        JsonReading? template = FindTemplate(root.Optional("post_processor"), depth: 0);
        string? written;
        if (template is { } found)
        {
            JsonReading first = found.Array("single").FirstOrDefault();
            written = first.Element.ValueKind == JsonValueKind.Object && !first.Optional("SpecialToken").IsNull
                ? first.Object("SpecialToken").String("id")
                : null;
        }
        else
        {
            TokenizerConfiguration configuration = TokenizerConfiguration.Read(path);
            written = configuration.AddBeginOfSequence == true ? configuration.BeginOfSequence : null;
        }

        if (written is null)
        {
            return null;
        }

        AddedToken? token = added.Find(candidate => candidate.Content == written);
        return token is not null ? token.Id
            : vocabulary.TryGetValue(written, out int id) ? id
            : throw TokenizerErrors.Create(path, "the token that starts a sequence is unknown", "a token of the vocabulary", $"'{written}'");
    }

    private static JsonReading? FindTemplate(JsonReading reading, int depth)
    {
        if (reading.IsNull)
        {
            return null;
        }

        switch (reading.Type())
        {
            case "TemplateProcessing":
                return reading;
            case "Sequence" when depth < 8:
                foreach (JsonReading item in reading.Array("processors"))
                {
                    if (FindTemplate(item, depth + 1) is { } template)
                    {
                        return template;
                    }
                }

                return null;
            default:
                return null; // ByteLevel's only trims offsets
        }
    }
}
