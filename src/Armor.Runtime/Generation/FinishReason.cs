namespace Armor.Runtime.Generation;

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>The model said so: an end of sequence, or one of <see cref="GenerationOptions.StopTokens"/>.</summary>
    EndOfSequence,

    /// <summary>The text came to one of <see cref="GenerationOptions.StopStrings"/>.</summary>
    StopString,

    /// <summary><see cref="GenerationOptions.MaxTokens"/> are generated.</summary>
    MaxTokens,

    /// <summary>The model's context has no room for a further token.</summary>
    ContextFull,
}
