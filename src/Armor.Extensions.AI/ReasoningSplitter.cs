using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI;

/// <summary>
/// Tells the reasoning of an answer, between <c>&lt;think&gt;</c> and <c>&lt;/think&gt;</c> at its start, from what is said. The result does not depend on
/// how the text is cut.
/// </summary>
/// <param name="isInside">Whether the prompt has begun the reasoning already.</param>
internal sealed class ReasoningSplitter(bool isInside)
{
    private const string Start = "<think>";
    private const string End = "</think>";

    private State _state = isInside ? State.Reasoning : State.Undecided;
    private string _held = string.Empty;

    private enum State
    {
        Undecided,
        Reasoning,
        BeforeAnswer,
        Answer,
    }

    /// <summary>Adds text.</summary>
    /// <param name="piece">The text.</param>
    /// <param name="isLast">Whether nothing follows.</param>
    /// <returns>What is certain now.</returns>
    public IEnumerable<AIContent> Append(string piece, bool isLast)
    {
        _held += piece;
        if (_state == State.Undecided)
        {
            var text = _held.TrimStart();
            if (text.StartsWith(Start, StringComparison.Ordinal))
            {
                _held = text[Start.Length..];
                _state = State.Reasoning;
            }
            else if (isLast || !Start.StartsWith(text, StringComparison.Ordinal))
            {
                _state = State.Answer;
            }
        }

        if (_state == State.Reasoning)
        {
            var end = _held.IndexOf(End, StringComparison.Ordinal);
            var certain = end >= 0 ? end : isLast ? _held.Length : _held.Length - Overlap();
            if (certain > 0)
            {
                yield return new TextReasoningContent(_held[..certain]);
            }

            _held = end >= 0 ? _held[(end + End.Length)..] : _held[certain..];
            _state = end >= 0 ? State.BeforeAnswer : State.Reasoning;
        }

        if (_state == State.BeforeAnswer)
        {
            _held = _held.TrimStart('\n');
            _state = _held.Length > 0 ? State.Answer : State.BeforeAnswer;
        }

        if (_state == State.Answer && _held.Length > 0)
        {
            yield return new TextContent(_held);
            _held = string.Empty;
        }
    }

    /// <summary>How many characters at the end of what is held may be the start of the mark.</summary>
    private int Overlap()
    {
        var length = Math.Min(End.Length - 1, _held.Length);
        while (!_held.EndsWith(End[..length], StringComparison.Ordinal))
        {
            length--;
        }

        return length;
    }
}
