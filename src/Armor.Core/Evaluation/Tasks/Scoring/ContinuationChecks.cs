using Armor.Runtime.Models;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>What both implementations refuse, and how they cut their work.</summary>
internal static class ContinuationChecks
{
    /// <summary>Refuses sequences that the model cannot score.</summary>
    public static void Check(IReadOnlyList<TokenContinuation> continuations, ModelConfiguration configuration)
    {
        foreach ((int index, TokenContinuation continuation) in continuations.Index())
        {
            int length = continuation.Tokens.Length;
            if (continuation.Scored < 1 || continuation.Scored >= length || length > configuration.ContextLength + 1)
            {
                throw new EvaluationException(FormattableString.Invariant(
                    $"Continuation {index}: expected 1 to {configuration.ContextLength} scored tokens after at least one more, in {configuration.ContextLength + 1} at most; found {continuation.Scored} of {length}."));
            }

            int outside = continuation.Tokens.Span.IndexOfAnyExceptInRange(0, configuration.VocabularySize - 1);
            if (outside >= 0)
            {
                throw new EvaluationException(FormattableString.Invariant(
                    $"Continuation {index}: token {continuation.Tokens.Span[outside]} is outside the model's vocabulary of {configuration.VocabularySize}; the tokenizer is not the model's."));
            }
        }
    }

    /// <summary>Refuses a score that is no number.</summary>
    public static ContinuationScore RequireFinite(ContinuationScore score, int index) => double.IsFinite(score.LogLikelihood)
        ? score
        : throw new EvaluationException(FormattableString.Invariant($"Continuation {index}: the model's log-likelihood is not finite: {score.LogLikelihood}."));

    /// <summary>Runs of neighbours that have at least their contexts in common with the run's first: the choices of one question.</summary>
    public static IEnumerable<Range> Runs(IReadOnlyList<TokenContinuation> continuations)
    {
        int start = 0;
        for (int index = 1; index <= continuations.Count; index++)
        {
            if (index == continuations.Count || !ShareContext(continuations[start], continuations[index]))
            {
                yield return start..index;
                start = index;
            }
        }
    }

    /// <summary>How many of the tokens that the model reads are context only: those before the first whose logits are wanted.</summary>
    public static int ContextLength(this TokenContinuation continuation) => continuation.Tokens.Length - 1 - continuation.Scored;

    private static bool ShareContext(TokenContinuation first, TokenContinuation other)
    {
        int context = Math.Min(first.ContextLength(), other.ContextLength());
        // Half is enough to gain by sharing; fillings of a blank differ a little before what is scored.
        return context > 0 && 2 * first.Tokens.Span[..^1].CommonPrefixLength(other.Tokens.Span[..^1]) >= context;
    }
}
