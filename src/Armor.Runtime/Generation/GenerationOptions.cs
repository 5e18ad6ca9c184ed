using System.Globalization;

namespace Armor.Runtime.Generation;

/// <summary>How tokens are chosen and when generation ends. The same options give the same tokens every time.</summary>
public sealed record GenerationOptions
{
    /// <summary>Always the likeliest token: the default.</summary>
    public static GenerationOptions Greedy { get; } = new();

    /// <summary>Drawn from the likeliest tokens that hold 95 % of the probability, at temperature 0.8.</summary>
    public static GenerationOptions Sampled { get; } = new() { Temperature = 0.8, TopP = 0.95 };

    /// <summary>The most tokens to generate; fewer where the context is full before.</summary>
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
    /// Applied after <see cref="TopK"/>, to the probabilities of what that leaves.
    /// </summary>
    /// <value>The default is 1.</value>
    public double TopP { get; init; } = 1;

    /// <summary>Seed of the draws; without effect at temperature 0.</summary>
    public long Seed { get; init; }

    /// <summary>Whether generation ends at a token that the configuration lists as an end of sequence. Such a token is not returned.</summary>
    /// <value>The default is true.</value>
    public bool StopAtEndOfSequence { get; init; } = true;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        Require(MaxTokens >= 1, $"MaxTokens must be at least 1; found {MaxTokens}.");
        Require(Temperature is >= 0 and < double.PositiveInfinity, $"Temperature must be at least 0 and finite; found {Temperature}.");
        Require(TopK is null or >= 1, $"TopK must be at least 1, or null for all; found {TopK}.");
        Require(TopP is > 0 and <= 1, $"TopP must be above 0 and at most 1; found {TopP}.");
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
