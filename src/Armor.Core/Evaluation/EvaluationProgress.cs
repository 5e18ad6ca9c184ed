namespace Armor.Core.Evaluation;

/// <summary>Where an evaluation stands.</summary>
/// <param name="Predictions">How many tokens have been predicted.</param>
/// <param name="TotalPredictions">How many there are to predict.</param>
/// <param name="Nll">Mean negative log-likelihood so far, in nats a token. Sequences are taken by length, so it drifts.</param>
/// <param name="Elapsed">Time since the start.</param>
public sealed record EvaluationProgress(long Predictions, long TotalPredictions, double Nll, TimeSpan Elapsed);
