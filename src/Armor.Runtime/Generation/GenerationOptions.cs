using System.Globalization;

namespace Armor.Runtime.Generation;

/// <summary>
/// How tokens are chosen and when generation ends. The same options give the same tokens for the same logits every time, on every machine.
/// </summary>
/// <remarks>
/// A token is chosen in this order: <see cref="RepetitionPenalty"/> changes the logits; without <see cref="Temperature"/> the highest wins; else
/// they are divided by it, and <see cref="TopK"/>, <see cref="TopP"/> and <see cref="MinP"/> in turn take tokens away, each measured against what the one
/// before left; one of the rest is drawn.
/// </remarks>
public sealed record GenerationOptions
{
    /// <summary>Always the likeliest token: the default.</summary>
    public static GenerationOptions Greedy { get; } = new();

    /// <summary>Drawn from the likeliest tokens that hold 95 % of the probability, at temperature 0.8.</summary>
    public static GenerationOptions Sampled { get; } = new() { Temperature = 0.8, TopP = 0.95 };

    /// <summary>
    /// The most tokens to generate; fewer where the context is full before. That prompt and tokens fit the machine's memory is checked at the start.
    /// </summary>
    /// <value>The default is 256.</value>
    public int MaxTokens { get; init; } = 256;

    /// <summary>What logits are divided by before a token is drawn; 0 takes the likeliest token instead.</summary>
    /// <value>The default is 0.</value>
    public double Temperature { get; init; }

    /// <summary>Only this many of the likeliest tokens are drawn from; null for all.</summary>
    /// <value>The default is null.</value>
    public int? TopK { get; init; }

    /// <summary>
    /// Only the fewest likeliest tokens whose probabilities add up to this are drawn from (nucleus sampling, arXiv 1904.09751); 1 for all.
    /// </summary>
    /// <value>The default is 1.</value>
    public double TopP { get; init; } = 1;

    /// <summary>Only tokens at least this times as likely as the likeliest are drawn from (min-p, arXiv 2407.01082); 0 for all.</summary>
    /// <value>The default is 0.</value>
    public double MinP { get; init; }

    /// <summary>
    /// What the logits of tokens that are in the sequence already are divided by where they are positive, and multiplied by where they are negative
    /// (CTRL, arXiv 1909.05858, section 4.1, with the care for the sign that has become usual); 1 for none, above 1 against repetition. It acts on the
    /// prompt's tokens too, and at temperature 0 too.
    /// </summary>
    /// <value>The default is 1.</value>
    public double RepetitionPenalty { get; init; } = 1;

    /// <summary>How many of the latest tokens <see cref="RepetitionPenalty"/> looks at; null for the whole sequence.</summary>
    /// <value>The default is null.</value>
    public int? RepetitionWindow { get; init; }

    /// <summary>Seed of the draws; without effect at temperature 0.</summary>
    public long Seed { get; init; }

    /// <summary>Whether generation ends at a token that the configuration lists as an end of sequence. Such a token is not returned.</summary>
    /// <value>The default is true.</value>
    public bool StopAtEndOfSequence { get; init; } = true;

    /// <summary>Further tokens at which generation ends, such as a chat template's end of turn. They are not returned.</summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<int> StopTokens { get; init => field = value is null ? null! : [.. value]; } = [];

    /// <summary>
    /// Texts at which generation ends, compared character by character with what is generated, wherever the tokens' borders are. Neither they nor
    /// what follows is part of the text. A stream of tokens ends with the token that completes one. They need a model with a tokenizer, and special
    /// tokens have no text: for those there is <see cref="StopTokens"/>.
    /// </summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<string> StopStrings { get; init => field = value is null ? null! : [.. value]; } = [];

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        Require(MaxTokens >= 1, $"MaxTokens must be at least 1; found {MaxTokens}.");
        Require(Temperature is >= 0 and < double.PositiveInfinity, $"Temperature must be at least 0 and finite; found {Temperature}.");
        Require(TopK is null or >= 1, $"TopK must be at least 1, or null for all; found {TopK}.");
        Require(TopP is > 0 and <= 1, $"TopP must be above 0 and at most 1; found {TopP}.");
        Require(MinP is >= 0 and <= 1, $"MinP must be from 0 to 1; found {MinP}.");
        Require(
            RepetitionPenalty is > 0 and < double.PositiveInfinity, $"RepetitionPenalty must be above 0 and finite; found {RepetitionPenalty}.");
        Require(RepetitionWindow is null or >= 1, $"RepetitionWindow must be at least 1, or null for all; found {RepetitionWindow}.");
        Require(StopTokens is not null, $"StopTokens must not be null.");
        Require(StopStrings is not null && !StopStrings.Any(string.IsNullOrEmpty), $"StopStrings must be texts of at least one character.");
        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }

        void Require(bool holds, FormattableString violation)
        {
            if (!holds)
            {
                violations.Add(violation.ToString(CultureInfo.InvariantCulture));
            }
        }
    }
}
