using System.Text.RegularExpressions;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>How an answer is generated and compared.</summary>
/// <param name="StopStrings">What ends the answer.</param>
/// <param name="MaxTokens">The most tokens of it.</param>
/// <param name="Filters">Ways to take the answer out of the text; each gives a metric of its own.</param>
/// <param name="Normalize">What is done to both answers before they are compared.</param>
internal sealed record AnswerRule(
    IReadOnlyList<string> StopStrings, int MaxTokens, IReadOnlyList<AnswerFilter> Filters, Func<string, string> Normalize);

/// <summary>Takes an answer out of a generated text.</summary>
/// <param name="Name">The filter's name.</param>
internal abstract record AnswerFilter(string Name)
{
    /// <summary>What stands for an answer that is not found.</summary>
    public const string NotFound = "[invalid]";

    /// <summary>The answer.</summary>
    public abstract string Extract(string text);

    /// <summary>The match that counts, null where there is none: of its groups the first that holds something, or all of it where there are no groups.</summary>
    /// <param name="pattern">The pattern.</param>
    /// <param name="text">The text.</param>
    /// <param name="takesLast">Whether the last match counts, or the first.</param>
    protected static string? Find(Regex pattern, string text, bool takesLast)
    {
        MatchCollection matches = pattern.Matches(text);
        if (matches.Count == 0)
        {
            return null;
        }

        Match match = matches[takesLast ? matches.Count - 1 : 0];
        string[] groups = [.. match.Groups.Values.Skip(match.Groups.Count > 1 ? 1 : 0).Select(group => group.Value)];
        // A pattern with one group gives it even where it is empty; with several, the empty ones are passed over.
        string? found = groups.Length == 1 ? groups[0] : groups.FirstOrDefault(group => group.Length > 0);
        return found is null ? null : PythonText.Strip(found);
    }
}

/// <summary>Finds an answer by a pattern, as the harness's <c>regex</c> filter does.</summary>
/// <param name="Name">The filter's name.</param>
/// <param name="Pattern">The pattern.</param>
/// <param name="TakesLast">Whether the last match counts, or the first.</param>
internal sealed record PatternFilter(string Name, Regex Pattern, bool TakesLast) : AnswerFilter(Name)
{
    public override string Extract(string text) => Find(Pattern, text, TakesLast) ?? NotFound;
}
