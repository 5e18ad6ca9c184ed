using Armor.TinyModel.Corpus;
using Armor.TinyModel.Tokenizers;

namespace Armor.TinyModel.Training;

/// <summary>
/// Books cut into sequences of one length. Every sequence starts with the begin token and the start of a sentence, so that a sample from the
/// begin token does so too; where one sequence stops within a sentence, the next one starts with that sentence. A book's last sequence
/// ends with the end token, filled up with further ones, which are not to be learnt.
/// </summary>
internal sealed class TrainingData
{
    private readonly ushort[][] _sequences;

    private TrainingData(ushort[][] sequences) => _sequences = sequences;

    public int Count => _sequences.Length;

    /// <summary>Number of tokens, filling included.</summary>
    public long TokenCount => _sequences.Sum(sequence => (long)sequence.Length);

    public ReadOnlySpan<ushort> this[int index] => _sequences[index];

    /// <summary>Cuts all books.</summary>
    /// <param name="books">The books.</param>
    /// <param name="encoder">The tokenizer.</param>
    /// <param name="length">Tokens a sequence, the begin token included.</param>
    /// <param name="firstLength">Tokens of each book's first sequence to use, so that each epoch can cut elsewhere; at most <paramref name="length"/>.</param>
    public static TrainingData Cut(IEnumerable<Book> books, BytePairEncoder encoder, int length, int firstLength)
    {
        var sequences = new List<ushort[]>();
        foreach (var book in books)
        {
            CutBook(book.Text, encoder, length, firstLength, sequences);
        }

        return new TrainingData([.. sequences]);
    }

    /// <summary>The order of an epoch: a permutation that depends on seed and epoch alone.</summary>
    public int[] Order(int seed, int epoch)
    {
        var order = Enumerable.Range(0, Count).ToArray();
        new Random(unchecked((seed * 1_000_003) + epoch)).Shuffle(order);
        return order;
    }

    private static void CutBook(string text, BytePairEncoder encoder, int length, int firstLength, List<ushort[]> sequences)
    {
        var start = 0;
        var wanted = firstLength;
        while (start < text.Length)
        {
            var sequence = new List<ushort>(length) { (ushort)encoder.Vocabulary.BeginToken };
            var next = Fill(text, start, encoder, length, wanted, sequence);
            if (sequence.Count < length)
            {
                next = text.Length;
            }

            while (sequence.Count < length)
            {
                sequence.Add((ushort)encoder.Vocabulary.EndToken);
            }

            sequences.Add([.. sequence]);
            start = next;
            wanted = length;
        }
    }

    /// <summary>Adds tokens up to the length; returns the start of the sentence that follows the last one held whole within <paramref name="wanted"/> tokens.</summary>
    private static int Fill(string text, int start, BytePairEncoder encoder, int length, int wanted, List<ushort> sequence)
    {
        var nextStart = -1;
        var reached = start;
        foreach (var match in BytePairVocabulary.Pieces().EnumerateMatches(text, start))
        {
            if (match.Index > start && sequence.Count <= wanted && StartsSentence(text, match.Index))
            {
                nextStart = SkipSpace(text, match.Index);
            }

            var tokens = encoder.EncodePiece(text.AsSpan(match.Index, match.Length));
            if (sequence.Count + tokens.Length > length)
            {
                foreach (var token in tokens.AsSpan(0, length - sequence.Count))
                {
                    sequence.Add((ushort)token);
                }

                // A sentence longer than the sequence goes on at the piece that was cut.
                return nextStart > start ? nextStart : reached;
            }

            foreach (var token in tokens)
            {
                sequence.Add((ushort)token);
            }

            reached = match.Index + match.Length;
        }

        return text.Length;
    }

    /// <summary>True where the piece at <paramref name="index"/> follows a blank line, or a full stop with any closing quotes.</summary>
    private static bool StartsSentence(string text, int index)
    {
        if (text[index - 1] == '\n')
        {
            return true;
        }

        if (text[index] != ' ')
        {
            return false;
        }

        var end = index - 1;
        while (end > 0 && text[end] is '"' or '\'' or ')')
        {
            end--;
        }

        var first = SkipSpace(text, index);
        return text[end] is '.' or '!' or '?' && first < text.Length && (char.IsUpper(text[first]) || text[first] is '"' or '\'');
    }

    private static int SkipSpace(string text, int index)
    {
        while (index < text.Length && char.IsWhiteSpace(text[index]))
        {
            index++;
        }

        return index;
    }
}
