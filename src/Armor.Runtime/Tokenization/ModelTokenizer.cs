using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// A model's own tokenizer, read from its folder: <c>tokenizer.json</c> (byte-level BPE as of Llama 3 and Qwen, byte-fallback BPE as of Llama 2 and
/// Mistral) or SentencePiece's <c>tokenizer.model</c>. Immutable and safe for several threads.
/// </summary>
public sealed class ModelTokenizer
{
    private readonly BytePairEncoder encoder;
    private readonly TokenTable table;
    private readonly Dictionary<string, int> ids;
    private readonly Dictionary<string, AddedToken> specials;
    private readonly AddedTokenSplitter allTokens;
    private readonly AddedTokenSplitter plainTokens;
    private readonly bool prependsSpace;

    private ModelTokenizer(TokenizerDefinition definition)
    {
        encoder = new BytePairEncoder(definition);
        prependsSpace = definition.PrependsSpace;
        table = new TokenTable(definition.Vocabulary, definition.AddedTokens, definition.ByteLevel);
        ids = new Dictionary<string, int>(definition.Vocabulary, StringComparer.Ordinal);
        specials = definition.AddedTokens.Where(token => token.Special)
            .DistinctBy(token => token.Content).ToDictionary(token => token.Content, StringComparer.Ordinal);
        SpecialTokens = specials.ToDictionary(token => token.Key, token => token.Value.Id, StringComparer.Ordinal);
        foreach (AddedToken token in definition.AddedTokens)
        {
            ids[token.Content] = token.Id;
        }

        allTokens = new AddedTokenSplitter(definition.AddedTokens);
        plainTokens = new AddedTokenSplitter(definition.AddedTokens.Where(token => !token.Special));
        BeginOfSequence = definition.BeginOfSequence;
    }

    /// <summary>One more than the highest id; a model's embedding has at least as many rows.</summary>
    public int VocabularySize => table.Count;

    /// <summary>The id that starts a sequence, or null for a tokenizer that starts with none (Qwen).</summary>
    public int? BeginOfSequence { get; }

    /// <summary>The special tokens (control marks that are no text) by their written form.</summary>
    public IReadOnlyDictionary<string, int> SpecialTokens { get; }

    /// <summary>Reads the tokenizer of a model folder: <c>tokenizer.json</c> if there is one, else <c>tokenizer.model</c>.</summary>
    /// <param name="folder">A folder in Hugging Face layout.</param>
    /// <returns>The tokenizer.</returns>
    /// <exception cref="Checkpoints.CheckpointException">There is neither file, or the file is damaged or of a kind that is not supported.</exception>
    public static ModelTokenizer Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        string json = Path.Combine(folder, "tokenizer.json");
        if (File.Exists(json))
        {
            return new ModelTokenizer(TokenizerJson.Read(json));
        }

        string model = Path.Combine(folder, "tokenizer.model");
        return File.Exists(model)
            ? new ModelTokenizer(SentencePieceModel.Read(model))
            : throw TokenizerErrors.Create(folder, "the folder has no tokenizer", "tokenizer.json or tokenizer.model", "neither");
    }

    /// <summary>Whether a folder has a file that <see cref="Load"/> would read.</summary>
    internal static bool IsIn(string folder) =>
        File.Exists(Path.Combine(folder, "tokenizer.json")) || File.Exists(Path.Combine(folder, "tokenizer.model"));

    /// <summary>Turns text into ids.</summary>
    /// <param name="text">The text; an empty one gives no ids but the start.</param>
    /// <param name="addBeginOfSequence">Whether <see cref="BeginOfSequence"/>, where the tokenizer has one, comes first.</param>
    /// <param name="parseSpecialTokens">
    /// Whether special tokens written out in the text become their ids. Leave it off for text from outside: there, they are only characters.
    /// </param>
    /// <returns>The ids.</returns>
    /// <exception cref="Checkpoints.CheckpointException">The tokenizer file's pattern takes too long on this text.</exception>
    public IReadOnlyList<int> Encode(string text, bool addBeginOfSequence = true, bool parseSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(text);
        var tokens = new List<int>((text.Length / 3) + 2);
        if (addBeginOfSequence && BeginOfSequence is { } begin)
        {
            tokens.Add(begin);
        }

        AppendStretch(text, first: true, tokens, parseSpecialTokens);
        return tokens;
    }

    /// <summary>A special token with its rules, or null.</summary>
    internal AddedToken? FindSpecial(string token) => specials.GetValueOrDefault(token);

    /// <summary>Appends the ids of a stretch of a longer text.</summary>
    internal void AppendStretch(string text, bool first, List<int> tokens, bool parseSpecialTokens = false) =>
        (parseSpecialTokens ? allTokens : plainTokens).Split(
            text,
            (start, length) => encoder.Encode(length == text.Length ? text : text.Substring(start, length), first && start == 0, tokens),
            token => tokens.Add(token.Id));

    /// <summary>Turns ids into text. Bytes that are no UTF-8 become U+FFFD.</summary>
    /// <param name="tokens">The ids.</param>
    /// <param name="skipSpecialTokens">Whether special tokens, such as the start of the sequence, are left out.</param>
    /// <returns>The text.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An id that no token has.</exception>
    public string Decode(IEnumerable<int> tokens, bool skipSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        TokenDecoder decoder = CreateDecoder(skipSpecialTokens);
        var text = new StringBuilder();
        foreach (int token in tokens)
        {
            text.Append(decoder.Append(token));
        }

        return text.Append(decoder.Finish()).ToString();
    }

    /// <summary>A decoder for tokens that come one by one.</summary>
    /// <param name="skipSpecialTokens">Whether special tokens are left out.</param>
    /// <returns>A decoder for one sequence.</returns>
    public TokenDecoder CreateDecoder(bool skipSpecialTokens = true) => new(table, prependsSpace, skipSpecialTokens);

    /// <summary>The id of a token as the vocabulary writes it.</summary>
    /// <param name="token">Its written form, such as <c>&lt;/s&gt;</c> or <c>Ġworld</c>.</param>
    /// <returns>The id, or null.</returns>
    public int? TokenToId(string token) => ids.TryGetValue(token, out int id) ? id : null;

    /// <summary>A token as the vocabulary writes it.</summary>
    /// <param name="id">Its id.</param>
    /// <returns>The written form, or null where no token has the id.</returns>
    public string? IdToToken(int id) => table.Name(id);
}
