namespace Armor.Core.Evaluation;

/// <summary>Documents as sequences that fit a model's context.</summary>
/// <param name="Sequences">One a document.</param>
/// <param name="CutSequences">How many of them are only their document's beginning.</param>
/// <param name="LostTokens">How many tokens were cut off, all documents together.</param>
public sealed record DocumentSequences(IReadOnlyList<int[]> Sequences, int CutSequences, long LostTokens);
