using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>What tasks need of a model. Both implementations give equal results up to rounding.</summary>
public interface IScoringModel
{
    /// <summary>The model's sizes.</summary>
    ModelConfiguration Configuration { get; }

    /// <summary>The model's own tokenizer.</summary>
    ModelTokenizer Tokenizer { get; }

    /// <summary>
    /// The log-likelihoods of continuations. Neighbours that begin alike should stand beside each other: what a continuation has in common with the one before is not
    /// computed again.
    /// </summary>
    /// <param name="continuations">Token sequences, each of at most the model's context + 1 tokens, of which the last is only predicted.</param>
    /// <param name="cancellationToken">Seen between sequences, or between layers.</param>
    /// <returns>One score a continuation, in their order.</returns>
    /// <exception cref="EvaluationException">A sequence is too long or too short, a token is outside the vocabulary, or a score is not finite.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    IReadOnlyList<ContinuationScore> Score(IReadOnlyList<TokenContinuation> continuations, CancellationToken cancellationToken = default);

    /// <summary>Continues prompts by the likeliest token each time.</summary>
    /// <param name="prompts">The prompts; those that begin alike should stand beside each other.</param>
    /// <param name="cancellationToken">Seen between tokens.</param>
    /// <returns>One text a prompt, in their order.</returns>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    IReadOnlyList<string> Generate(IReadOnlyList<TokenPrompt> prompts, CancellationToken cancellationToken = default);
}

/// <summary>A prompt to be continued.</summary>
/// <param name="Tokens">At least one token; with <paramref name="MaxTokens"/> at most the model's context.</param>
/// <param name="MaxTokens">The most tokens; fewer where the model ends the sequence or a stop string is complete.</param>
/// <param name="StopStrings">Texts that end the answer; neither they nor what follows belongs to it.</param>
public readonly record struct TokenPrompt(ReadOnlyMemory<int> Tokens, int MaxTokens, IReadOnlyList<string> StopStrings);

/// <summary>A sequence whose last tokens are scored given those before.</summary>
/// <param name="Tokens">Context and continuation: at least one token more than are scored.</param>
/// <param name="Scored">How many of the last tokens are scored, at least 1.</param>
public readonly record struct TokenContinuation(ReadOnlyMemory<int> Tokens, int Scored);

/// <summary>How likely a continuation is.</summary>
/// <param name="LogLikelihood">Σ log p of the scored tokens, in nats; log-softmax in float32, sums in float64.</param>
/// <param name="IsGreedy">Whether each scored token has the highest logit of its position.</param>
public readonly record struct ContinuationScore(double LogLikelihood, bool IsGreedy);
