using Armor.Runtime.Tokenization;

namespace Armor.Core.Evaluation;

/// <summary>From a text file to the token sequences that a model is measured or calibrated on.</summary>
public static class TextCorpus
{
    /// <summary>The separator that most collections of short texts use.</summary>
    public const string DefaultSeparator = "<|endoftext|>";

    /// <summary>Cuts a text into documents, trimmed of white space at both ends.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="separator">What lies between documents; an empty one makes the text one document.</param>
    /// <param name="minimumLength">Documents of this many characters or fewer (after trimming) are left out, and empty ones always.</param>
    /// <returns>The documents in order.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="minimumLength"/> is negative.</exception>
    public static IReadOnlyList<string> SplitDocuments(string text, string separator = DefaultSeparator, int minimumLength = 0)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(separator);
        ArgumentOutOfRangeException.ThrowIfNegative(minimumLength);
        string[] parts = separator.Length == 0 ? [text] : text.Split(separator);
        return [.. parts.Select(part => part.Trim()).Where(part => part.Length > minimumLength)];
    }

    /// <summary>
    /// One sequence a document: the start-of-sequence token first (where the tokenizer has one), cut to context − 1 tokens. Documents of fewer than
    /// two tokens hold nothing to predict and are left out.
    /// </summary>
    /// <param name="documents">The documents; one is tokenised when its sequence is asked for.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="contextLength">The model's context.</param>
    /// <returns>The sequences in order.</returns>
    /// <exception cref="EvaluationException">The context is too short to predict anything.</exception>
    public static IEnumerable<int[]> TokenizeDocuments(IEnumerable<string> documents, ModelTokenizer tokenizer, int contextLength) =>
        Cut(documents, tokenizer, contextLength).Select(document => document.Tokens);

    /// <summary>The sequences of <see cref="TokenizeDocuments"/>, with what was cut off their ends.</summary>
    /// <param name="documents">The documents.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="contextLength">The model's context.</param>
    /// <param name="most">The most sequences; null for all.</param>
    /// <returns>The sequences in order.</returns>
    /// <exception cref="EvaluationException">The context is too short to predict anything.</exception>
    public static DocumentSequences FitDocuments(IEnumerable<string> documents, ModelTokenizer tokenizer, int contextLength, int? most = null)
    {
        (int[] Tokens, int Lost)[] cut = [.. Cut(documents, tokenizer, contextLength).Take(most ?? int.MaxValue)];
        return new DocumentSequences(
            [.. cut.Select(document => document.Tokens)], cut.Count(document => document.Lost > 0), cut.Sum(document => (long)document.Lost));
    }

    /// <summary>
    /// The WikiText-2 protocol: the whole text is tokenised once, with one start-of-sequence token (where the tokenizer has one) at its very start,
    /// and cut into windows of equal length; what is left at the end is dropped. Every token of a window but its first is predicted.
    /// </summary>
    /// <param name="text">The whole text, as it is.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="length">Tokens a window.</param>
    /// <param name="contextLength">The model's context, which a window must fit.</param>
    /// <returns>The windows in order.</returns>
    /// <exception cref="EvaluationException">The window does not fit the context, or the text does not fill one window.</exception>
    public static IReadOnlyList<int[]> JoinedWindows(string text, ModelTokenizer tokenizer, int length, int contextLength)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (length < 2 || length > contextLength)
        {
            throw new EvaluationException($"A window must have from 2 tokens to the model's context of {contextLength}; found {length}.");
        }

        IReadOnlyList<int> tokens = text.Length == 0 ? [] : tokenizer.Encode(text);
        return tokens.Count >= length
            ? [.. tokens.Chunk(length).Where(window => window.Length == length)]
            : throw new EvaluationException($"The text is too short for one window: expected at least {length} tokens, found {tokens.Count}.");
    }

    private static IEnumerable<(int[] Tokens, int Lost)> Cut(IEnumerable<string> documents, ModelTokenizer tokenizer, int contextLength)
    {
        ArgumentNullException.ThrowIfNull(documents);
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (contextLength < 3)
        {
            throw new EvaluationException($"The context is too short to predict anything: expected at least 3 tokens, found {contextLength}.");
        }

        int most = contextLength - 1;
        return documents.Select(document => tokenizer.Encode(document)).Where(tokens => tokens.Count > 1)
            .Select(tokens => (tokens.Take(most).ToArray(), Math.Max(0, tokens.Count - most)));
    }
}
