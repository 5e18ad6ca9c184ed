namespace Armor.Runtime.Chat;

/// <summary>
/// The template of Phi 3, 3.5 and 4 mini: every turn is <c>&lt;|role|&gt;</c>, a line break (not in Phi 4 mini's), the text, <c>&lt;|end|&gt;</c>, a line break
/// (not in Phi 4 mini's).
/// </summary>
public sealed record Phi3Template : IChatTemplate
{
    private const string TurnEnd = "<|end|>";

    private static readonly string[] Ends = [TurnEnd, "<|endoftext|>"];

    /// <summary>
    /// Whether line breaks follow the marks, as in Phi 3's text. Its tokenizer says of the marks that white space after them is theirs, so that not all of those
    /// breaks become tokens.
    /// </summary>
    /// <value>The default is true.</value>
    public bool HasLineBreaks { get; init; } = true;

    /// <summary>Whether the start of the sequence comes first, as in the first published template of Phi 3 mini.</summary>
    public bool StartsWithBeginOfSequence { get; init; }

    /// <summary>Whether a system's turn is allowed; the first published template knew none and left it out.</summary>
    /// <value>The default is true.</value>
    public bool HasSystem { get; init; } = true;

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">There is a system's turn, and <see cref="HasSystem"/> is not set.</exception>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        if (!HasSystem && turns.Any(turn => turn.Role == ChatTurnRole.System))
        {
            throw new ArgumentException("This template of Phi's has no turn of the system.", nameof(turns));
        }

        var lineBreak = HasLineBreaks ? "\n" : string.Empty;
        if (StartsWithBeginOfSequence)
        {
            prompt.AddBeginOfSequence();
        }

        foreach (var (role, text) in turns)
        {
            prompt.AddSpecialToken(MarkOf(role)).AddText(lineBreak + text).AddSpecialToken(TurnEnd).AddText(lineBreak);
        }

        prompt.AddSpecialToken(MarkOf(ChatTurnRole.Assistant)).AddText(lineBreak);
    }

    private static string MarkOf(ChatTurnRole role) => $"<|{ChatTemplates.NameOf(role)}|>";
}
