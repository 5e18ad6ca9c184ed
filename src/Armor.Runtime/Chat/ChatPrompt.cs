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
    private bool _stripsNext;

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

    /// <summary>Appends a special token. Where the tokenizer says that white space beside it is the token's, text there loses it.</summary>
    /// <param name="token">As it is written, such as <c>&lt;|im_start|&gt;</c>.</param>
    /// <returns>The same prompt.</returns>
    /// <exception cref="ArgumentException">The tokenizer has no such special token.</exception>
    public ChatPrompt AddSpecialToken(string token)
    {
        ArgumentException.ThrowIfNullOrEmpty(token);
        var special = _tokenizer.FindSpecial(token)
            ?? throw new ArgumentException($"The chat template needs the special token '{token}', which the tokenizer does not have.", nameof(token));
        EndText(special.StripLeft);
        _tokens.Add(special.Id);
        _stripsNext = special.StripRight;
        return this;
    }

    /// <summary>Appends a mark that is a special token in some tokenizers and text in others: a special token where it is one.</summary>
    /// <param name="mark">As it is written, such as <c>[INST]</c>.</param>
    /// <returns>The same prompt.</returns>
    public ChatPrompt AddMark(string mark)
    {
        ArgumentException.ThrowIfNullOrEmpty(mark);
        return _tokenizer.FindSpecial(mark) is null ? AddText(mark) : AddSpecialToken(mark);
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

    private void EndText(bool stripsEnd = false)
    {
        var text = _text.ToString();
        text = _stripsNext ? text.TrimStart() : text;
        text = stripsEnd ? text.TrimEnd() : text;
        if (text.Length > 0)
        {
            _tokenizer.AppendStretch(text, first: _tokens.Count == 0, _tokens);
        }

        _text.Clear();
        _stripsNext = false;
    }
}
