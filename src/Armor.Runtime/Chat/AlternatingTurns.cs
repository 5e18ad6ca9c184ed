namespace Armor.Runtime.Chat;

/// <summary>Conversations of user and assistant by turns, which is all that some templates can express.</summary>
internal static class AlternatingTurns
{
    /// <summary>Checks that, after an optional system turn, user and assistant take turns, the user first and last.</summary>
    /// <param name="turns">The turns.</param>
    /// <param name="whose">Whose template needs it, for the message.</param>
    /// <returns>The index of the user's first turn: 1 after a system's, else 0.</returns>
    /// <exception cref="ArgumentException">They do not.</exception>
    internal static int First(IReadOnlyList<ChatTurn> turns, string whose)
    {
        var first = turns.Count > 0 && turns[0].Role == ChatTurnRole.System ? 1 : 0;
        var alternate = (turns.Count - first) % 2 != 0;
        for (var index = first; index < turns.Count; index++)
        {
            alternate &= turns[index].Role == ((index - first) % 2 == 0 ? ChatTurnRole.User : ChatTurnRole.Assistant);
        }

        return alternate
            ? first
            : throw new ArgumentException(
                $"{whose} template needs turns of user and assistant by turns, the user's first and last, after an optional system turn; found "
                + $"{string.Join(", ", turns.Select(turn => ChatTemplates.NameOf(turn.Role)))}.",
                nameof(turns));
    }
}
