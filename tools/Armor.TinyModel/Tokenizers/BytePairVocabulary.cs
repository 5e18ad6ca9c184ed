using System.Text.RegularExpressions;

namespace Armor.TinyModel.Tokenizers;

/// <summary>
/// A byte-level BPE vocabulary: tokens 0–255 are the bytes, each merge adds one token, and the two special tokens come last.
/// </summary>
internal sealed partial class BytePairVocabulary
{
    public const string BeginText = "<|begin_of_text|>";
    public const string EndText = "<|end_of_text|>";

    /// <summary>Llama 3's rule for the pieces that merges never cross.</summary>
    public const string PiecePattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private readonly Dictionary<(int, int), int> _ranks = [];

    public BytePairVocabulary(IReadOnlyList<(int Left, int Right)> merges)
    {
        Merges = merges;
        var tokens = Enumerable.Range(0, 256).Select(value => new[] { (byte)value }).ToList();
        foreach (var (left, right) in merges)
        {
            _ranks.Add((left, right), tokens.Count);
            tokens.Add([.. tokens[left], .. tokens[right]]);
        }

        Tokens = tokens;
    }

    /// <summary>The pairs in the order in which they were found; merge i makes token 256 + i.</summary>
    public IReadOnlyList<(int Left, int Right)> Merges { get; }

    /// <summary>The bytes of every token but the special ones.</summary>
    public IReadOnlyList<byte[]> Tokens { get; }

    public int BeginToken => Tokens.Count;

    public int EndToken => Tokens.Count + 1;

    public int Size => Tokens.Count + 2;

    [GeneratedRegex(PiecePattern, RegexOptions.CultureInvariant)]
    public static partial Regex Pieces();

    /// <summary>The token that a pair merges into, or -1.</summary>
    public int Merge(int left, int right) => _ranks.GetValueOrDefault((left, right), -1);

    /// <summary>A token's bytes in the printable alphabet of <c>tokenizer.json</c>.</summary>
    public string Spell(int token) => string.Concat(Tokens[token].Select(value => ByteAlphabet.Characters[value]));
}
