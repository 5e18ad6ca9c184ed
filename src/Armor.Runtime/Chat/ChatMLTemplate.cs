namespace Armor.Runtime.Chat;

/// <summary>
/// ChatML, the template of Qwen and many others: every turn is <c>&lt;|im_start|&gt;role</c>, a line break, the text, <c>&lt;|im_end|&gt;</c>, a
/// line break.
/// </summary>
public sealed record ChatMLTemplate : IChatTemplate
{
    private const string TurnStart = "<|im_start|>";
    private const string TurnEnd = "<|im_end|>";
    private const string ReasoningStart = "<think>";
    private const string ReasoningEnd = "</think>";

    private static readonly string[] Ends = [TurnEnd, "<|endoftext|>"];

    /// <summary>What the system says where a conversation does not begin with a turn of it (Qwen 2 and 2.5), or null for nothing.</summary>
    public string? DefaultSystem { get; init; }

    /// <summary>Whether the start of a sequence comes first; Qwen has none.</summary>
    public bool StartsWithBeginOfSequence { get; init; }

    /// <summary>
    /// Whether earlier answers are written without the reasoning that ends with <c>&lt;/think&gt;</c>, as Qwen 3 was trained.
    /// </summary>
    public bool LeavesOutReasoning { get; init; }

    /// <summary>
    /// What every answer begins with, written for the model: <c>"&lt;think&gt;\n"</c> makes one reason that can, and
    /// <c>"&lt;think&gt;\n\n&lt;/think&gt;\n\n"</c> keeps Qwen 3 from it.
    /// </summary>
    /// <value>The default is empty.</value>
    public string AnswerStart { get; init; } = string.Empty;

    /// <summary>Whether <see cref="AnswerStart"/> begins a reasoning that the model has to end, so that every answer starts inside it.</summary>
    public bool BeginsReasoning =>
        AnswerStart.LastIndexOf(ReasoningStart, StringComparison.Ordinal) > AnswerStart.LastIndexOf(ReasoningEnd, StringComparison.Ordinal);

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        if (StartsWithBeginOfSequence)
        {
            prompt.AddBeginOfSequence();
        }

        if (DefaultSystem is not null && (turns.Count == 0 || turns[0].Role != ChatTurnRole.System))
        {
            AddTurn(prompt, ChatTurnRole.System, DefaultSystem);
        }

        var lastQuery = LastQuery(turns);
        for (var index = 0; index < turns.Count; index++)
        {
            var (role, text) = turns[index];
            var leavesOut = LeavesOutReasoning && role == ChatTurnRole.Assistant;
            AddTurn(prompt, role, leavesOut ? Answer(text, index > lastQuery, index == turns.Count - 1) : text);
        }

        AddHeader(prompt, ChatTurnRole.Assistant);
        prompt.AddText(AnswerStart);
    }

    /// <summary>An answer as Qwen 3's template writes it: reasoning belongs only to what follows the latest question.</summary>
    private static string Answer(string text, bool afterLastQuery, bool isLast)
    {
        var end = text.LastIndexOf(ReasoningEnd, StringComparison.Ordinal);
        var answer = end < 0 ? text : text[(end + ReasoningEnd.Length)..].TrimStart('\n');
        var reasoning = end < 0 ? string.Empty : text[..text.IndexOf(ReasoningEnd, StringComparison.Ordinal)].Split(ReasoningStart)[^1].Trim('\n');
        return afterLastQuery && (isLast || reasoning.Length > 0)
            ? $"{ReasoningStart}\n{reasoning}\n{ReasoningEnd}\n\n{answer.TrimStart('\n')}"
            : answer;
    }

    private static int LastQuery(IReadOnlyList<ChatTurn> turns)
    {
        for (var index = turns.Count - 1; index >= 0; index--)
        {
            if (turns[index].Role == ChatTurnRole.User)
            {
                return index;
            }
        }

        return turns.Count - 1;
    }

    private static void AddTurn(ChatPrompt prompt, ChatTurnRole role, string text)
    {
        AddHeader(prompt, role);
        prompt.AddText(text).AddSpecialToken(TurnEnd).AddText("\n");
    }

    private static void AddHeader(ChatPrompt prompt, ChatTurnRole role) =>
        prompt.AddSpecialToken(TurnStart).AddText(ChatTemplates.NameOf(role)).AddText("\n");
}
