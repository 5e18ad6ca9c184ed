using System.Text.RegularExpressions;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>How an answer is generated and compared.</summary>
/// <param name="StopStrings">What ends the answer.</param>
/// <param name="MaxTokens">The most tokens of it.</param>
/// <param name="Filters">Ways to take the answer out of the text; each gives a metric of its own.</param>
/// <param name="Normalize">What is done to both answers before they are compared.</param>
internal sealed record AnswerRule(
    IReadOnlyList<string> StopStrings, int MaxTokens, IReadOnlyList<AnswerFilter> Filters, Func<string, string> Normalize);

/// <summary>Takes an answer out of a generated text by a pattern, as the harness's <c>regex</c> filter does.</summary>
/// <param name="Name">The filter's name.</param>
/// <param name="Pattern">The pattern.</param>
/// <param name="TakesLast">Whether the last match counts, or the first.</param>
internal sealed record AnswerFilter(string Name, Regex Pattern, bool TakesLast)
{
    /// <summary>What stands for an answer that is not found.</summary>
    public const string NotFound = "[invalid]";

    /// <summary>The answer: of the match that counts, the first group that holds something, or all of it where there are no groups.</summary>
    public string Extract(string text)
    {
        MatchCollection matches = Pattern.Matches(text);
        if (matches.Count == 0)
        {
            return NotFound;
        }

        Match match = matches[TakesLast ? matches.Count - 1 : 0];
        string[] groups = [.. match.Groups.Values.Skip(match.Groups.Count > 1 ? 1 : 0).Select(group => group.Value)];
        // A pattern with one group gives it even where it is empty; with several, the empty ones are passed over.
        string? found = groups.Length == 1 ? groups[0] : groups.FirstOrDefault(group => group.Length > 0);
        return found is null ? NotFound : PythonText.Strip(found);
    }
}
