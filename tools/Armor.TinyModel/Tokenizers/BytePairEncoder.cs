using System.Text;

namespace Armor.TinyModel.Tokenizers;

/// <summary>Text to tokens and back.</summary>
internal sealed class BytePairEncoder(BytePairVocabulary vocabulary)
{
    private readonly Dictionary<string, int[]> _cache = new(StringComparer.Ordinal);

    public BytePairVocabulary Vocabulary => vocabulary;

    /// <summary>The tokens of one piece of the pre-tokenizer.</summary>
    public int[] EncodePiece(ReadOnlySpan<char> piece)
    {
        var lookup = _cache.GetAlternateLookup<ReadOnlySpan<char>>();
        if (!lookup.TryGetValue(piece, out var tokens))
        {
            tokens = Merge(Encoding.UTF8.GetBytes(piece.ToString()));
            lookup[piece] = tokens;
        }

        return tokens;
    }

    /// <summary>The tokens of a text, without special ones.</summary>
    public List<int> Encode(string text)
    {
        var tokens = new List<int>();
        foreach (var match in BytePairVocabulary.Pieces().EnumerateMatches(text))
        {
            tokens.AddRange(EncodePiece(text.AsSpan(match.Index, match.Length)));
        }

        return tokens;
    }

    /// <summary>The text of tokens, or null where their bytes are no valid UTF-8. Special tokens have no text.</summary>
    public string? Decode(IEnumerable<int> tokens)
    {
        var bytes = tokens.Where(token => token < vocabulary.Tokens.Count).SelectMany(token => vocabulary.Tokens[token]).ToArray();
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    /// <summary>Replaces every occurrence of a pair, from the left, by a token.</summary>
    public static int[] Join(int[] tokens, (int Left, int Right) pair, int token)
    {
        var joined = new List<int>(tokens.Length);
        for (var i = 0; i < tokens.Length; i++)
        {
            if (i + 1 < tokens.Length && tokens[i] == pair.Left && tokens[i + 1] == pair.Right)
            {
                joined.Add(token);
                i++;
            }
            else
            {
                joined.Add(tokens[i]);
            }
        }

        return [.. joined];
    }

    private int[] Merge(byte[] bytes)
    {
        var tokens = bytes.Select(value => (int)value).ToArray();
        while (true)
        {
            var best = int.MaxValue;
            for (var i = 0; i + 1 < tokens.Length; i++)
            {
                var merged = vocabulary.Merge(tokens[i], tokens[i + 1]);
                best = merged >= 0 && merged < best ? merged : best;
            }

            if (best == int.MaxValue)
            {
                return tokens;
            }

            tokens = Join(tokens, vocabulary.Merges[best - 256], best);
        }
    }
}
