using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Generation;

/// <summary>The text of a continuation, token by token, up to a stop string.</summary>
internal sealed class GeneratedText
{
    private readonly ModelTokenizer _tokenizer;
    private readonly TokenDecoder _decoder;
    private readonly StopStringMatcher _stops;

    /// <param name="tokenizer">The model's.</param>
    /// <param name="prompt">What is continued; its text is not part of the result, nor searched for stop strings.</param>
    /// <param name="stops">Where the text ends.</param>
    public GeneratedText(ModelTokenizer tokenizer, ReadOnlySpan<int> prompt, IReadOnlyList<string> stops)
    {
        _tokenizer = tokenizer;
        _decoder = tokenizer.CreateDecoder();
        _stops = new StopStringMatcher(stops);

        // The prompt goes first, so that the first token's leading space is not taken for that of a text's start.
        foreach (var token in prompt)
        {
            Decode(token);
        }
    }

    /// <summary>Whether a stop string has come.</summary>
    public bool IsStopped => _stops.IsStopped;

    /// <summary>Adds a token.</summary>
    /// <returns>The text that is certain now; often empty.</returns>
    public string Append(int token) => _stops.Append(Decode(token));

    /// <summary>Ends the text.</summary>
    /// <returns>What was left of it.</returns>
    public string Finish()
    {
        var rest = _stops.Append(_decoder.Finish());
        return _stops.IsStopped ? rest : rest + _stops.Finish();
    }

    // Embeddings often have rows beyond the tokenizer's last token; they have no text.
    private string Decode(int token) => _tokenizer.IdToToken(token) is null ? string.Empty : _decoder.Append(token);
}
