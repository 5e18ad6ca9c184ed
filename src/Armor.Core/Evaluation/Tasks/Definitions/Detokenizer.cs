using System.Text.RegularExpressions;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>Turns WikiText's spaced tokens back into text, in the steps and the order that the harness takes.</summary>
internal static partial class Detokenizer
{
    /// <summary>The text as a model reads it.</summary>
    public static string Join(string text)
    {
        text = text.Substitute("s '", "s'");
        text = SlashedDigit().Replace(text, "/'[0-9]/"); // a slip of the harness's, in which [0-9] is no class on the right: kept, since numbers must compare
        text = text.Substitute(" @-@ ", "-").Substitute(" @,@ ", ",").Substitute(" @.@ ", ".");
        foreach (char mark in ":;.!?,")
        {
            text = text.Substitute($" {mark} ", $"{mark} ");
        }

        text = Parentheses().Replace(text, "($1)");
        text = Brackets().Replace(text, "[$1]");
        text = Braces().Replace(text, "{$1}");
        text = DoubleQuotes().Replace(text, "\"$1\"");
        text = SingleQuotes().Replace(text, "'$1'");
        return text.Substitute("= = = =", "====").Substitute("= = =", "===").Substitute("= =", "==")
            .Substitute(" \u00b0 ", "\u00b0").Substitute(" \n", "\n").Substitute("\n ", "\n").Substitute(" N ", " 1 ").Substitute(" 's", "'s");
    }

    /// <summary>Words as the harness counts them: the parts between white space, an empty one at either end included.</summary>
    public static int CountWords(string text) => Spaces().Count(text) + 1;

    [GeneratedRegex("/' [0-9]/", RegexOptions.CultureInvariant)]
    private static partial Regex SlashedDigit();

    [GeneratedRegex(@"\(" + PythonText.Space + @"*([^\)]*?)" + PythonText.Space + @"*\)", RegexOptions.CultureInvariant)]
    private static partial Regex Parentheses();

    [GeneratedRegex(@"\[" + PythonText.Space + @"*([^\]]*?)" + PythonText.Space + @"*\]", RegexOptions.CultureInvariant)]
    private static partial Regex Brackets();

    [GeneratedRegex("{" + PythonText.Space + "*([^}]*?)" + PythonText.Space + "*}", RegexOptions.CultureInvariant)]
    private static partial Regex Braces();

    [GeneratedRegex("\"" + PythonText.Space + "*([^\"]*?)" + PythonText.Space + "*\"", RegexOptions.CultureInvariant)]
    private static partial Regex DoubleQuotes();

    [GeneratedRegex("'" + PythonText.Space + "*([^']*?)" + PythonText.Space + "*'", RegexOptions.CultureInvariant)]
    private static partial Regex SingleQuotes();

    [GeneratedRegex(PythonText.Space + "+", RegexOptions.CultureInvariant)]
    private static partial Regex Spaces();
}
