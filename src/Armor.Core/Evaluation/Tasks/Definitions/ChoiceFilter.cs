using System.Globalization;
using System.Text.RegularExpressions;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>
/// Finds which of several choices a generated text names, as the harness's <c>multi_choice_regex</c> filter does. The last of these counts: a letter in brackets; where
/// there is none, the text of a choice, capitals and punctuation aside; where there is none either, a letter after a colon.
/// </summary>
/// <param name="Name">The filter's name.</param>
/// <param name="Choices">The choices (A), (B) and so on, 1 to 26.</param>
internal sealed partial record ChoiceFilter(string Name, IReadOnlyList<string> Choices) : AnswerFilter(Name)
{
    public override string Extract(string text) =>
        Full(Find(InBrackets(), text, takesLast: true)) ?? Full(ByText(Plain(text))) ?? Full(ByLetter(text)) ?? NotFound;

    /// <summary>Null where nothing, or only white space, was found.</summary>
    private static string? Full(string? found) => string.IsNullOrEmpty(found) ? null : found;

    private static string Letter(int choice) => $"({(char)('A' + choice)})";

    private static string Plain(string text) => string.Concat(text.EnumerateRunes().Where(rune => !IsPunctuation(rune))).ToLowerInvariant();

    private static bool IsPunctuation(System.Text.Rune rune) => System.Text.Rune.GetUnicodeCategory(rune) is
        UnicodeCategory.ConnectorPunctuation or UnicodeCategory.DashPunctuation or UnicodeCategory.OpenPunctuation or UnicodeCategory.ClosePunctuation
        or UnicodeCategory.InitialQuotePunctuation or UnicodeCategory.FinalQuotePunctuation or UnicodeCategory.OtherPunctuation;

    private string? ByText(string text)
    {
        string[] plain = [.. Choices.Select(choice => Plain(PythonText.Strip(choice)))];
        string? found = Find(new Regex(string.Join('|', plain.Select(Regex.Escape)), RegexOptions.CultureInvariant), text, takesLast: true);
        if (string.IsNullOrEmpty(found))
        {
            return null; // a choice of punctuation only is found everywhere, and tells nothing
        }

        // Of equal choices the harness takes the last; one that begins or ends in white space once its punctuation is gone stays as it was found.
        int choice = Array.LastIndexOf(plain, found);
        return choice < 0 ? found : Letter(choice);
    }

    private string? ByLetter(string text)
    {
        string letters = string.Join('|', Choices.Select((_, choice) => (char)('A' + choice)));
        return Find(new Regex($":{PythonText.Space}*({letters})", RegexOptions.CultureInvariant), text, takesLast: true) is { } letter ? $"({letter})" : null;
    }

    [GeneratedRegex(@"(\([A-Z]\))", RegexOptions.CultureInvariant)]
    private static partial Regex InBrackets();
}
