namespace Armor.Runtime.Chat;

/// <summary>
/// The template of Llama 2: <c>&lt;s&gt;[INST] question [/INST] answer &lt;/s&gt;</c>, the system's words between <c>&lt;&lt;SYS&gt;&gt;</c> and
/// <c>&lt;&lt;/SYS&gt;&gt;</c> before the first question. Its marks are no special tokens, so that a user can write them too.
/// </summary>
public sealed record Llama2Template : IChatTemplate
{
    private const string EndOfSequence = "</s>";

    private static readonly string[] Ends = [EndOfSequence];

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">After an optional system turn, the turns are not the user's and the assistant's by turns, the user's last.</exception>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        var first = AlternatingTurns.First(turns, "Llama 2's");
        for (var index = first; index < turns.Count; index++)
        {
            var (role, text) = turns[index];
            if (role == ChatTurnRole.Assistant)
            {
                prompt.AddText($" {text.Trim()} ").AddSpecialToken(EndOfSequence);
                continue;
            }

            var content = first > 0 && index == first ? $"<<SYS>>\n{turns[0].Text}\n<</SYS>>\n\n{text}" : text;
            prompt.AddBeginOfSequence().AddText($"[INST] {content.Trim()} [/INST]");
        }
    }
}
