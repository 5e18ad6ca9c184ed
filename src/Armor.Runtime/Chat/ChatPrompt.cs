using System.Text;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Chat;

/// <summary>
/// A conversation in the making. Special tokens come only from <see cref="AddSpecialToken"/>: text stays text whatever it says, so nothing that a
/// user writes can end a turn or begin one.
/// </summary>
public sealed class ChatPrompt
{
    private readonly ModelTokenizer _tokenizer;
    private readonly List<int> _tokens = [];
    private readonly StringBuilder _text = new();

    internal ChatPrompt(ModelTokenizer tokenizer) => _tokenizer = tokenizer;

    /// <summary>Appends the token that starts a sequence; nothing where the tokenizer has none.</summary>
    /// <returns>The same prompt.</returns>
    public ChatPrompt AddBeginOfSequence()
    {
        EndText();
        if (_tokenizer.BeginOfSequence is { } begin)
        {
            _tokens.Add(begin);
        }

        return this;
    }

    /// <summary>Appends a special token.</summary>
    /// <param name="token">As it is written, such as <c>&lt;|im_start|&gt;</c>.</param>
    /// <returns>The same prompt.</returns>
    /// <exception cref="ArgumentException">The tokenizer has no such special token.</exception>
    public ChatPrompt AddSpecialToken(string token)
    {
        ArgumentException.ThrowIfNullOrEmpty(token);
        EndText();
        _tokens.Add(_tokenizer.SpecialTokens.TryGetValue(token, out var id)
            ? id
            : throw new ArgumentException($"The chat template needs the special token '{token}', which the tokenizer does not have.", nameof(token)));
        return this;
    }

    /// <summary>Appends text. Texts that follow one another are one text: they may share a token.</summary>
    /// <param name="text">The text.</param>
    /// <returns>The same prompt.</returns>
    public ChatPrompt AddText(string text)
    {
        _text.Append(text);
        return this;
    }

    internal IReadOnlyList<int> Finish()
    {
        EndText();
        return _tokens;
    }

    private void EndText()
    {
        if (_text.Length > 0)
        {
            _tokenizer.AppendStretch(_text.ToString(), first: _tokens.Count == 0, _tokens);
            _text.Clear();
        }
    }
}
