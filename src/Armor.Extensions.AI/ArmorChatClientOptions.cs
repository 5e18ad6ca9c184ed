using Armor.Runtime.Chat;
using Armor.Runtime.Generation;

namespace Armor.Extensions.AI;

/// <summary>How an <see cref="ArmorChatClient"/> answers where a request does not say.</summary>
public sealed record ArmorChatClientOptions
{
    /// <summary>
    /// How tokens are chosen; what a request's own options say goes before. The seed is among them: where neither says another one, the same
    /// request gets the same answer.
    /// </summary>
    /// <value>
    /// The default, null, is <see cref="ArmorModel.RecommendedOptions"/>, or <see cref="GenerationOptions.Sampled"/> where there are none, with up to 1024
    /// tokens.
    /// </value>
    public GenerationOptions? Generation { get; init; }

    /// <summary>How a conversation is written for the model; null for the template of the model's folder.</summary>
    public IChatTemplate? Template { get; init; }

    /// <summary>The model's name in responses and metadata; null for the name of its folder, where the client loads it.</summary>
    public string? ModelId { get; init; }

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate() => Generation?.Validate();
}
