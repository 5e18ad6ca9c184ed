using System.Text;
using Armor.Runtime.Chat;
using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI;

/// <summary>A request's messages as turns for a chat template.</summary>
internal static class RequestTurns
{
    /// <summary>Instructions and the system messages at the start become one turn of the system: many templates have room for no more.</summary>
    /// <exception cref="NotSupportedException">A message has a role or a content other than text.</exception>
    /// <exception cref="ArgumentException">There is no message.</exception>
    internal static IReadOnlyList<ChatTurn> Map(IEnumerable<ChatMessage> messages, string? instructions)
    {
        List<ChatTurn> turns = string.IsNullOrEmpty(instructions) ? [] : [new ChatTurn(ChatTurnRole.System, instructions)];
        foreach (var message in messages)
        {
            var turn = new ChatTurn(RoleOf(message.Role), TextOf(message));
            if (turn.Role == ChatTurnRole.System && turns is [{ Role: ChatTurnRole.System } system])
            {
                turns[0] = system with { Text = $"{system.Text}\n{turn.Text}" };
            }
            else
            {
                turns.Add(turn);
            }
        }

        return turns.Count > 0 ? turns : throw new ArgumentException("The request has no messages.", nameof(messages));
    }

    private static ChatTurnRole RoleOf(ChatRole role) =>
        role == ChatRole.System ? ChatTurnRole.System
        : role == ChatRole.User ? ChatTurnRole.User
        : role == ChatRole.Assistant ? ChatTurnRole.Assistant
        : throw new NotSupportedException($"{nameof(ArmorChatClient)} does not support messages of the role '{role}': only system, user and assistant.");

    private static string TextOf(ChatMessage message)
    {
        var text = new StringBuilder();
        foreach (var content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    text.Append(part.Text);
                    break;
                case TextReasoningContent or UsageContent:
                    break; // of earlier answers; no part of what was said
                default:
                    throw new NotSupportedException($"{nameof(ArmorChatClient)} does not support {content.GetType().Name} in a message: only text.");
            }
        }

        return text.ToString();
    }
}
