namespace Armor.Runtime.Generation;

/// <summary>A whole continuation.</summary>
/// <param name="Text">Its text; empty where the model has no tokenizer.</param>
/// <param name="Tokens">Its tokens; a stop token that ended it is left out.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="PromptTokens">Number of tokens of the prompt.</param>
public sealed record GenerationResult(string Text, IReadOnlyList<int> Tokens, FinishReason FinishReason, int PromptTokens);
