namespace Armor.Runtime.Generation;

/// <summary>
/// Lets text through up to the first stop string. What may still become one is held back; the result does not depend on how the text is cut.
/// </summary>
internal sealed class StopStringMatcher(IReadOnlyList<string> stops)
{
    private string _held = string.Empty;

    /// <summary>Whether a stop string has come; nothing may be added then.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>Adds text.</summary>
    /// <returns>What can be let through now.</returns>
    public string Append(string piece)
    {
        if (stops.Count == 0 || piece.Length == 0)
        {
            return piece;
        }

        var text = _held + piece;
        var (start, end) = (text.Length, int.MaxValue);
        foreach (var stop in stops)
        {
            // The one that is complete first, as if the characters came one by one; of those the longest.
            var found = text.IndexOf(stop, StringComparison.Ordinal);
            if (found >= 0 && (found + stop.Length < end || (found + stop.Length == end && found < start)))
            {
                (start, end) = (found, found + stop.Length);
            }
        }

        IsStopped = end <= text.Length;
        var released = IsStopped ? start : text.Length - stops.Max(stop => Overlap(text, stop));
        _held = IsStopped ? string.Empty : text[released..];
        return text[..released];
    }

    /// <summary>Ends the text.</summary>
    /// <returns>What was held back.</returns>
    public string Finish()
    {
        var rest = _held;
        _held = string.Empty;
        return rest;
    }

    /// <summary>How many characters at the end of the text are the start of a stop string.</summary>
    private static int Overlap(string text, string stop)
    {
        var length = Math.Min(stop.Length - 1, text.Length);
        while (!text.AsSpan(text.Length - length).SequenceEqual(stop.AsSpan(0, length)))
        {
            length--;
        }

        return length;
    }
}
