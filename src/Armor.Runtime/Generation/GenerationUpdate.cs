namespace Armor.Runtime.Generation;

/// <summary>One step of a generation.</summary>
/// <param name="Token">The token of this step; null in the last one where a token that is not returned ended the generation.</param>
/// <param name="Text">
/// The text that is certain now: whole characters, and nothing that may still turn out to be the start of a stop string. Often empty; always so where the
/// model has no tokenizer.
/// </param>
/// <param name="FinishReason">Why the generation ends with this step; null where it goes on.</param>
/// <param name="PromptTokens">Number of tokens of the prompt.</param>
/// <param name="GeneratedTokens">Number of tokens returned so far, this step's included.</param>
public readonly record struct GenerationUpdate(int? Token, string Text, FinishReason? FinishReason, int PromptTokens, int GeneratedTokens);
