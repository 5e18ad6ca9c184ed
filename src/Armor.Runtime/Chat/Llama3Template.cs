namespace Armor.Runtime.Chat;

/// <summary>
/// The template of Llama 3 and its successors up to 3.3: every turn is
/// <c>&lt;|start_header_id|&gt;role&lt;|end_header_id|&gt;</c>, an empty line, the text without the white space around it, <c>&lt;|eot_id|&gt;</c>.
/// </summary>
public sealed record Llama3Template : IChatTemplate
{
    private const string HeaderStart = "<|start_header_id|>";
    private const string HeaderEnd = "<|end_header_id|>";
    private const string EndOfTurn = "<|eot_id|>";

    private static readonly string[] Ends = [EndOfTurn];

    /// <summary>
    /// The template of Llama 3.1 to 3.3. Its date is the one that the published template names where it is given none, so that the same
    /// conversation is the same tokens on every day.
    /// </summary>
    public static Llama3Template Dated { get; } = new() { Date = "26 Jul 2024" };

    /// <summary>
    /// Today's date as Llama 3.1 to 3.3 are told it at the start of the system's turn, which they then always have; null for Llama 3.0, which
    /// knows no date.
    /// </summary>
    public string? Date { get; init; }

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        prompt.AddBeginOfSequence();
        var hasSystem = turns.Count > 0 && turns[0].Role == ChatTurnRole.System;
        var first = 0;
        if (Date is not null)
        {
            var system = hasSystem ? turns[first++].Text.Trim() : string.Empty;
            AddTurn(prompt, ChatTurnRole.System, $"Cutting Knowledge Date: December 2023\nToday Date: {Date}\n\n{system}");
        }

        for (; first < turns.Count; first++)
        {
            AddTurn(prompt, turns[first].Role, turns[first].Text.Trim());
        }

        AddHeader(prompt, ChatTurnRole.Assistant);
    }

    private static void AddTurn(ChatPrompt prompt, ChatTurnRole role, string text)
    {
        AddHeader(prompt, role);
        prompt.AddText(text).AddSpecialToken(EndOfTurn);
    }

    private static void AddHeader(ChatPrompt prompt, ChatTurnRole role) =>
        prompt.AddSpecialToken(HeaderStart).AddText(ChatTemplates.NameOf(role)).AddSpecialToken(HeaderEnd).AddText("\n\n");
}
