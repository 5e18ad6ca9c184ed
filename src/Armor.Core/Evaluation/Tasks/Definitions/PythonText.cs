using System.Text;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>Text operations as Python defines them, where .NET differs: prompts must equal the harness's to the character.</summary>
internal static class PythonText
{
    /// <summary>A pattern for what <c>\s</c> matches in a Python text.</summary>
    public const string Space = @"[\s\x1c-\x1f]";

    /// <summary><c>str.isspace</c> of one character.</summary>
    public static bool IsSpace(char character) => char.IsWhiteSpace(character) || character is >= '\x1c' and <= '\x1f';

    /// <summary><c>str.strip</c>.</summary>
    public static string Strip(string text)
    {
        string rest = StripStart(text);
        return rest[..^TrailingSpaces(rest)];
    }

    /// <summary><c>str.lstrip</c>.</summary>
    public static string StripStart(string text)
    {
        int start = 0;
        while (start < text.Length && IsSpace(text[start]))
        {
            start++;
        }

        return text[start..];
    }

    /// <summary>How many characters of white space a text ends in.</summary>
    public static int TrailingSpaces(string text)
    {
        int count = 0;
        while (count < text.Length && IsSpace(text[text.Length - 1 - count]))
        {
            count++;
        }

        return count;
    }

    /// <summary><c>str.capitalize</c>: the first character large, all others small.</summary>
    public static string Capitalize(string text)
    {
        if (text.Length == 0)
        {
            return text;
        }

        var first = Rune.GetRuneAt(text, 0);
        return Rune.ToUpperInvariant(first) + text[first.Utf16SequenceLength..].ToLowerInvariant();
    }

    /// <summary><c>len</c>: the number of code points.</summary>
    public static int Length(string text) => text.Length - text.Count(char.IsLowSurrogate);

    /// <summary><c>str.replace</c>.</summary>
    public static string Substitute(this string text, string old, string replacement) => text.Replace(old, replacement, StringComparison.Ordinal);
}
