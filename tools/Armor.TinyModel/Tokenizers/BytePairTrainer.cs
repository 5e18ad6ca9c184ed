using System.Text;
using Armor.TinyModel.Corpus;

namespace Armor.TinyModel.Tokenizers;

/// <summary>Learns merges: again and again the most frequent pair of neighbours within a piece becomes a token.</summary>
internal sealed class BytePairTrainer
{
    private readonly List<int[]> _words = [];
    private readonly List<long> _counts = [];
    private readonly Dictionary<(int Left, int Right), long> _pairCounts = [];
    private readonly Dictionary<(int Left, int Right), HashSet<int>> _pairWords = [];

    private BytePairTrainer(IEnumerable<Book> books)
    {
        foreach (var (piece, count) in CountPieces(books))
        {
            var bytes = Encoding.UTF8.GetBytes(piece);
            if (bytes.Length > 1)
            {
                _words.Add([.. bytes.Select(value => (int)value)]);
                _counts.Add(count);
                AddPairs(_words.Count - 1, +1);
            }
        }
    }

    /// <summary>Learns a vocabulary of the given size, bytes and special tokens included.</summary>
    public static BytePairVocabulary Train(IEnumerable<Book> books, int vocabularySize)
    {
        var trainer = new BytePairTrainer(books);
        var merges = new List<(int, int)>();
        while (merges.Count < vocabularySize - 256 - 2 && trainer.Best() is { } pair)
        {
            trainer.Apply(pair, 256 + merges.Count);
            merges.Add(pair);
        }

        return new BytePairVocabulary(merges);
    }

    private static Dictionary<string, long> CountPieces(IEnumerable<Book> books)
    {
        var counts = new Dictionary<string, long>(StringComparer.Ordinal);
        var lookup = counts.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (var book in books)
        {
            foreach (var match in BytePairVocabulary.Pieces().EnumerateMatches(book.Text))
            {
                var piece = book.Text.AsSpan(match.Index, match.Length);
                lookup[piece] = lookup.TryGetValue(piece, out var count) ? count + 1 : 1;
            }
        }

        return counts;
    }

    /// <summary>The most frequent pair; of equals the one with the lowest tokens, so that a run can be repeated.</summary>
    private (int Left, int Right)? Best()
    {
        (int, int)? best = null;
        long bestCount = 1;
        foreach (var (pair, count) in _pairCounts)
        {
            if (count > bestCount || (count == bestCount && best is { } held && pair.CompareTo(held) < 0))
            {
                (best, bestCount) = (pair, count);
            }
        }

        return best;
    }

    private void Apply((int Left, int Right) pair, int token)
    {
        foreach (var word in _pairWords[pair].ToList())
        {
            AddPairs(word, -1);
            _words[word] = BytePairEncoder.Join(_words[word], pair, token);
            AddPairs(word, +1);
        }
    }

    private void AddPairs(int word, int sign)
    {
        var tokens = _words[word];
        for (var i = 0; i + 1 < tokens.Length; i++)
        {
            var pair = (tokens[i], tokens[i + 1]);
            var count = _pairCounts.GetValueOrDefault(pair) + (sign * _counts[word]);
            if (count == 0)
            {
                _pairCounts.Remove(pair);
                _pairWords.Remove(pair);
                continue;
            }

            _pairCounts[pair] = count;
            if (!_pairWords.TryGetValue(pair, out var words))
            {
                _pairWords.Add(pair, words = []);
            }

            // A word that loses one of two equal pairs is added back by the pass with +1, or stays as a harmless extra entry.
            words.Add(word);
        }
    }
}
