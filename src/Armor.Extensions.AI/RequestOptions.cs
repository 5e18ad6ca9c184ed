using Armor.Runtime.Chat;
using Armor.Runtime.Generation;
using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI;

/// <summary>A request's options as the model's.</summary>
internal static class RequestOptions
{
    /// <exception cref="NotSupportedException">An option asks for what cannot be done.</exception>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    internal static GenerationOptions Map(IChatClient client, ChatOptions? options, GenerationOptions defaults, string? modelId)
    {
        if (options is null)
        {
            return defaults;
        }

        RefuseUnsupported(options, modelId);
        var own = options.RawRepresentationFactory?.Invoke(client) as GenerationOptions ?? defaults;
        var mapped = own with
        {
            Temperature = options.Temperature ?? own.Temperature,
            TopP = options.TopP ?? own.TopP,
            TopK = options.TopK ?? own.TopK,
            Seed = options.Seed ?? own.Seed,
            MaxTokens = options.MaxOutputTokens ?? own.MaxTokens,
            StopStrings = options.StopSequences is { Count: > 0 } stops ? [.. own.StopStrings, .. stops] : own.StopStrings,
        };
        mapped.Validate();
        return mapped;
    }

    /// <summary>The template that a request's wish about reasoning asks for; where a model always or never reasons, the same.</summary>
    internal static IChatTemplate Reason(IChatTemplate template, ReasoningOptions? reasoning) =>
        reasoning?.Effort == ReasoningEffort.None && template is ChatMLTemplate { LeavesOutReasoning: true, BeginsReasoning: false } chatML
            ? chatML with { AnswerStart = "<think>\n\n</think>\n\n" }
            : template;

    private static void RefuseUnsupported(ChatOptions options, string? modelId)
    {
        string? refused =
            options.Tools is { Count: > 0 } || options.ToolMode is RequiredChatToolMode ? "tools (ChatOptions.Tools, ToolMode)"
            : options.ResponseFormat is not null and not ChatResponseFormatText ? "JSON output (ChatOptions.ResponseFormat)"
            : options.FrequencyPenalty is not null and not 0 ? "ChatOptions.FrequencyPenalty; there is GenerationOptions.RepetitionPenalty, through RawRepresentationFactory"
            : options.PresencePenalty is not null and not 0 ? "ChatOptions.PresencePenalty; there is GenerationOptions.RepetitionPenalty, through RawRepresentationFactory"
            : options.ConversationId is not null ? "stored conversations (ChatOptions.ConversationId): pass the whole conversation"
            : options.ModelId is { } other && modelId is not null && other != modelId ? $"the model '{other}': this client runs '{modelId}'"
            : null;
        if (refused is not null)
        {
            throw new NotSupportedException($"{nameof(ArmorChatClient)} does not support {refused}.");
        }
    }
}
