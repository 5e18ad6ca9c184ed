namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>What a model is asked.</summary>
internal abstract record TaskRequest;

/// <summary>How likely is a continuation after a context?</summary>
/// <param name="Context">The text before.</param>
/// <param name="Continuation">The text whose tokens are scored; a space that separates it from the context belongs to it.</param>
internal sealed record ContinuationRequest(string Context, string Continuation) : TaskRequest;

/// <summary>How likely is a whole text?</summary>
/// <param name="Text">The text, which may be longer than the model's context.</param>
internal sealed record DocumentRequest(string Text) : TaskRequest;

/// <summary>What comes after a prompt, the likeliest token each time?</summary>
/// <param name="Prompt">The text before.</param>
/// <param name="StopStrings">What ends the answer and is no part of it.</param>
/// <param name="MaxTokens">The most tokens.</param>
internal sealed record GenerationRequest(string Prompt, IReadOnlyList<string> StopStrings, int MaxTokens) : TaskRequest;

/// <summary>What a model answered.</summary>
/// <param name="LogLikelihood">In nats, summed over the scored tokens; 0 for generated text.</param>
/// <param name="IsGreedy">Whether each scored token was the likeliest.</param>
/// <param name="Text">The generated text; null otherwise.</param>
/// <param name="IsTruncated">Whether the request was cut on its left to fit the model's context.</param>
internal sealed record TaskResponse(double LogLikelihood, bool IsGreedy, string? Text, bool IsTruncated);

/// <summary>What one row adds to a metric.</summary>
/// <param name="Metric">Its name in the harness.</param>
/// <param name="Filter">How the answer was taken out of a generated text; <see cref="NoFilter"/> otherwise.</param>
/// <param name="Value">0 or 1, or a log-likelihood.</param>
/// <param name="Weight">What a log-likelihood is divided by: words or bytes; else 1.</param>
internal readonly record struct ItemScore(string Metric, string Filter, double Value, double Weight = 1)
{
    /// <summary>The filter's name where there is none.</summary>
    public const string NoFilter = "none";
}
