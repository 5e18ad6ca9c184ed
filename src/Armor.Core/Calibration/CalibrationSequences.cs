using Armor.Runtime.Models;

namespace Armor.Core.Calibration;

/// <summary>Checks and trims tokenised calibration sequences before any work is done with them.</summary>
internal static class CalibrationSequences
{
    // The first token of a sequence is its BOS: alone it says nothing of the text.
    private const int MinimumLength = 2;

    /// <summary>The first <paramref name="maximumCount"/> usable sequences, each cut to context − 1 tokens.</summary>
    /// <param name="sequences">Token ids, BOS first.</param>
    /// <param name="maximumCount">How many to keep.</param>
    /// <param name="configuration">The model they are for.</param>
    /// <exception cref="CalibrationException">No sequences, none long enough, a context too short, or a token outside the vocabulary.</exception>
    public static IReadOnlyList<int[]> Select(IEnumerable<int[]> sequences, int maximumCount, ModelConfiguration configuration)
    {
        int longest = configuration.ContextLength - 1;
        if (longest < MinimumLength)
        {
            throw new CalibrationException(
                $"Calibration needs a context of at least {MinimumLength + 1} tokens; the model's is {configuration.ContextLength}.");
        }

        var kept = new List<int[]>();
        int seen = 0;
        foreach (int[] sequence in sequences)
        {
            if (kept.Count == maximumCount)
            {
                break;
            }

            seen++;
            if (sequence.Length < MinimumLength)
            {
                continue;
            }

            int[] cut = sequence.Length <= longest ? sequence : sequence[..longest];
            RequireVocabulary(cut, seen - 1, configuration.VocabularySize);
            kept.Add(cut);
        }

        if (seen == 0)
        {
            throw new CalibrationException("Calibration needs text; found none.");
        }

        if (kept.Count == 0)
        {
            throw new CalibrationException($"Calibration needs a text of at least {MinimumLength} tokens, BOS included; all {seen} are shorter.");
        }

        return kept;
    }

    private static void RequireVocabulary(int[] sequence, int index, int vocabularySize)
    {
        foreach (int token in sequence)
        {
            if ((uint)token >= (uint)vocabularySize)
            {
                throw new CalibrationException(
                    $"Calibration text {index}: token {token} is outside the model's vocabulary of {vocabularySize}; the tokenizer is not the model's.");
            }
        }
    }
}
