using System.Buffers;
using System.Globalization;

namespace Armor.Runtime.Tokenization;

/// <summary>Cuts a text at its added tokens: the leftmost first, the longest of those that start at one place.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly AddedToken[] longestFirst;
    private readonly SearchValues<string>? search;

    internal AddedTokenSplitter(IEnumerable<AddedToken> tokens)
    {
        longestFirst = [.. tokens.Where(token => token.Content.Length > 0).OrderByDescending(token => token.Content.Length)];
        search = longestFirst.Length == 0 ? null : SearchValues.Create([.. longestFirst.Select(token => token.Content)], StringComparison.Ordinal);
    }

    /// <summary>Calls back in order for each stretch of plain text that is not empty and for each added token.</summary>
    internal void Split(string text, Action<int, int> plain, Action<AddedToken> added)
    {
        int done = 0;
        int from = 0;
        while (search is not null && from < text.Length)
        {
            int offset = text.AsSpan(from).IndexOfAny(search);
            if (offset < 0)
            {
                break;
            }

            int start = from + offset;
            AddedToken? token = Match(text, start);
            if (token is null)
            {
                from = start + 1;
                continue;
            }

            int end = start + token.Content.Length;
            while (token.StripLeft && start > done && char.IsWhiteSpace(text[start - 1]))
            {
                start--;
            }

            while (token.StripRight && end < text.Length && char.IsWhiteSpace(text[end]))
            {
                end++;
            }

            if (start > done)
            {
                plain(done, start - done);
            }

            added(token);
            done = from = end;
        }

        if (done < text.Length)
        {
            plain(done, text.Length - done);
        }
    }

    private static bool IsWord(char character) => char.IsLetterOrDigit(character)
        || char.GetUnicodeCategory(character) is UnicodeCategory.NonSpacingMark or UnicodeCategory.ConnectorPunctuation;

    private AddedToken? Match(string text, int start)
    {
        foreach (AddedToken token in longestFirst)
        {
            if (string.CompareOrdinal(text, start, token.Content, 0, token.Content.Length) != 0)
            {
                continue;
            }

            int end = start + token.Content.Length;
            bool inWord = (start > 0 && IsWord(text[start - 1])) || (end < text.Length && IsWord(text[end]));
            if (!token.SingleWord || !inWord)
            {
                return token;
            }
        }

        return null;
    }
}
