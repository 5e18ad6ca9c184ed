namespace Armor.Runtime.Chat;

/// <summary>
/// The template of Gemma: every turn is <c>&lt;start_of_turn&gt;role</c>, a line break, the text without the white space around it,
/// <c>&lt;end_of_turn&gt;</c>, a line break; the assistant is called <c>model</c>.
/// </summary>
public sealed record GemmaTemplate : IChatTemplate
{
    private const string TurnStart = "<start_of_turn>";
    private const string TurnEnd = "<end_of_turn>";

    private static readonly string[] Ends = [TurnEnd];

    /// <summary>
    /// Whether a system's turn is written at the start of the first question, as Gemma 3 was trained; Gemma 1 and 2 know no system, and such a turn is
    /// refused.
    /// </summary>
    public bool PutsSystemIntoQuestion { get; init; }

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">
    /// After an optional system turn, which must be allowed, the turns are not the user's and the assistant's by turns, the user's last.
    /// </exception>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        var first = AlternatingTurns.First(turns, "Gemma's");
        if (first > 0 && !PutsSystemIntoQuestion)
        {
            throw new ArgumentException("Gemma's template of before Gemma 3 has no turn of the system.", nameof(turns));
        }

        prompt.AddBeginOfSequence();
        for (var index = first; index < turns.Count; index++)
        {
            var (role, text) = turns[index];
            prompt.AddSpecialToken(TurnStart).AddText(role == ChatTurnRole.Assistant ? "model\n" : "user\n");
            if (index == first && first > 0)
            {
                // The system's words keep their white space.
                prompt.AddText(turns[0].Text + "\n\n");
            }

            prompt.AddText(text.Trim()).AddSpecialToken(TurnEnd).AddText("\n");
        }

        prompt.AddSpecialToken(TurnStart).AddText("model\n");
    }
}
