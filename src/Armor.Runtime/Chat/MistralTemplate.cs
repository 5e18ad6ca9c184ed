namespace Armor.Runtime.Chat;

/// <summary>
/// The templates of Mistral and Mixtral up to version 3 of their tokenizers: the start of the sequence, then <c>[INST] question [/INST]</c> and the answer with
/// the end of the sequence, by turns; the system's words stand before one of the questions. The versions differ in white space and in which question that is.
/// From version 3 on the marks are special tokens, before they are text that a user can write too.
/// </summary>
public sealed record MistralTemplate : IChatTemplate
{
    private const string EndOfSequence = "</s>";
    private const string QuestionMark = "[INST]";
    private const string AnswerMark = "[/INST]";

    private static readonly string[] Ends = [EndOfSequence];

    /// <summary>The template of Mistral 7B Instruct 0.2 and Mixtral 8x7B, as first published, which know no system.</summary>
    public static MistralTemplate Version1 { get; } = new() { SpaceBeforeAnswerMark = true };

    /// <summary>The template of Mistral 7B Instruct 0.3 and Mixtral 8x22B.</summary>
    public static MistralTemplate Version3 { get; } = new() { SystemPlace = MistralSystemPlace.LastQuestion, SpaceBeforeAnswer = true, TrimsAnswers = true };

    /// <summary>The template of Mistral Nemo, whose tokenizer puts no spaces between.</summary>
    public static MistralTemplate Version3Tekken { get; } = new() { SystemPlace = MistralSystemPlace.LastQuestion, SpaceBeforeQuestion = false };

    /// <summary>Where the system's words stand.</summary>
    /// <value>The default is <see cref="MistralSystemPlace.Nowhere"/>.</value>
    public MistralSystemPlace SystemPlace { get; init; }

    /// <summary>Whether a space comes before <c>[INST]</c>.</summary>
    public bool SpaceBeforeQuestionMark { get; init; }

    /// <summary>Whether a space comes between <c>[INST]</c> and the question.</summary>
    /// <value>The default is true.</value>
    public bool SpaceBeforeQuestion { get; init; } = true;

    /// <summary>Whether a space comes between the question and <c>[/INST]</c>.</summary>
    public bool SpaceBeforeAnswerMark { get; init; }

    /// <summary>Whether a space comes after <c>[/INST]</c>, also where the answer is still to come.</summary>
    public bool SpaceAfterAnswerMark { get; init; }

    /// <summary>Whether a space comes before an answer that is given.</summary>
    public bool SpaceBeforeAnswer { get; init; }

    /// <summary>Whether an answer is written without the white space around it.</summary>
    public bool TrimsAnswers { get; init; }

    /// <summary>Whether a space follows the end of an answer's sequence.</summary>
    public bool SpaceAfterAnswer { get; init; }

    /// <inheritdoc/>
    public IReadOnlyList<string> EndTokens => Ends;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">
    /// After an optional system turn, which must have a place, the turns are not the user's and the assistant's by turns, the user's last.
    /// </exception>
    public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt)
    {
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(prompt);
        var first = AlternatingTurns.First(turns, "Mistral's");
        if (first > 0 && SystemPlace == MistralSystemPlace.Nowhere)
        {
            throw new ArgumentException("This template of Mistral's has no turn of the system.", nameof(turns));
        }

        var systemIndex = first == 0 ? -1 : SystemPlace == MistralSystemPlace.FirstQuestion ? first : turns.Count - 1;
        prompt.AddBeginOfSequence();
        for (var index = first; index < turns.Count; index++)
        {
            var (role, text) = turns[index];
            if (role == ChatTurnRole.Assistant)
            {
                prompt.AddText((SpaceBeforeAnswer ? " " : string.Empty) + (TrimsAnswers ? text.Trim() : text)).AddSpecialToken(EndOfSequence);
                prompt.AddText(SpaceAfterAnswer ? " " : string.Empty);
                continue;
            }

            prompt.AddText(SpaceBeforeQuestionMark ? " " : string.Empty).AddMark(QuestionMark).AddText(SpaceBeforeQuestion ? " " : string.Empty);
            prompt.AddText(index == systemIndex ? $"{turns[0].Text}\n\n{text}" : text);
            prompt.AddText(SpaceBeforeAnswerMark ? " " : string.Empty).AddMark(AnswerMark).AddText(SpaceAfterAnswerMark ? " " : string.Empty);
        }
    }
}

/// <summary>Where Mistral's templates put what the system says.</summary>
public enum MistralSystemPlace
{
    /// <summary>A turn of the system is refused.</summary>
    Nowhere,

    /// <summary>Before the first question, and an empty line.</summary>
    FirstQuestion,

    /// <summary>Before the last question, and an empty line.</summary>
    LastQuestion,
}
