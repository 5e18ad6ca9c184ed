using System.Text;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>A row as a task sees it: what to ask, how the answer is scored, and how the row looks as an example before another.</summary>
internal abstract record TaskItem
{
    /// <summary>The row as a few-shot example: its question, the delimiter, its answer.</summary>
    public abstract string Example(string delimiter);

    /// <summary>What the model is asked.</summary>
    /// <param name="before">The description and the few-shot examples.</param>
    /// <param name="delimiter">What lies between question and answer.</param>
    public abstract IReadOnlyList<TaskRequest> Requests(string before, string delimiter);

    /// <summary>What the answers are worth; as many as there were requests.</summary>
    public abstract IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses);

    /// <summary>What would be right, as a log shows it.</summary>
    public abstract string Target { get; }
}

/// <summary>One question and several answers, each scored as its continuation.</summary>
/// <param name="Question">The question.</param>
/// <param name="Choices">The answers.</param>
/// <param name="Gold">The index of the right one.</param>
/// <param name="IsNormalized">Whether there is <c>acc_norm</c> beside <c>acc</c>: log-likelihoods divided by the answers' lengths in characters.</param>
internal sealed record ChoiceItem(string Question, IReadOnlyList<string> Choices, int Gold, bool IsNormalized) : TaskItem
{
    public override string Target => Choices[Gold];

    public override string Example(string delimiter) => Question + delimiter + Choices[Gold];

    public override IReadOnlyList<TaskRequest> Requests(string before, string delimiter) =>
        [.. Choices.Select(choice => new ContinuationRequest(before + Question, delimiter + choice))];

    public override IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses)
    {
        double[] likelihoods = [.. responses.Select(response => response.LogLikelihood)];
        var plain = new ItemScore("acc", ItemScore.NoFilter, Best(likelihoods) == Gold ? 1 : 0);
        if (!IsNormalized)
        {
            return [plain];
        }

        double[] normalized = [.. likelihoods.Select((likelihood, index) => likelihood / PythonText.Length(Choices[index]))];
        return [plain, new ItemScore("acc_norm", ItemScore.NoFilter, Best(normalized) == Gold ? 1 : 0)];
    }

    /// <summary>The first of the highest.</summary>
    internal static int Best(double[] values) => Array.IndexOf(values, values.Max());
}

/// <summary>A sentence with a blank: each filling is a context of its own, and what follows the blank is scored.</summary>
/// <param name="Openings">The sentence up to and with each filling.</param>
/// <param name="Rest">What follows the blank.</param>
/// <param name="Gold">The index of the right filling.</param>
internal sealed record BlankItem(IReadOnlyList<string> Openings, string Rest, int Gold) : TaskItem
{
    public override string Target => Openings[Gold];

    public override string Example(string delimiter) => Openings[Gold] + delimiter + Rest;

    public override IReadOnlyList<TaskRequest> Requests(string before, string delimiter) =>
        [.. Openings.Select(opening => new ContinuationRequest(before + opening, delimiter + Rest))];

    public override IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses) =>
        [new ItemScore("acc", ItemScore.NoFilter, ChoiceItem.Best([.. responses.Select(response => response.LogLikelihood)]) == Gold ? 1 : 0)];
}

/// <summary>A passage without its last word, which is scored.</summary>
/// <param name="Passage">The text before the word.</param>
/// <param name="Word">The word, with the space before it.</param>
internal sealed record WordItem(string Passage, string Word) : TaskItem
{
    public override string Target => Word;

    public override string Example(string delimiter) => Passage + delimiter + Word;

    public override IReadOnlyList<TaskRequest> Requests(string before, string delimiter) => [new ContinuationRequest(before + Passage, Word)];

    public override IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses) =>
    [
        new ItemScore("acc", ItemScore.NoFilter, responses[0].IsGreedy ? 1 : 0),
        new ItemScore("perplexity", ItemScore.NoFilter, responses[0].LogLikelihood),
    ];
}

/// <summary>A question whose answer is generated and then taken out of the text.</summary>
/// <param name="Question">The question.</param>
/// <param name="Answer">The answer as the row has it.</param>
/// <param name="Rule">How the model is asked and its answer read.</param>
internal sealed record AnswerItem(string Question, string Answer, AnswerRule Rule) : TaskItem
{
    public override string Target => Answer;

    public override string Example(string delimiter) => Question + delimiter + Answer;

    public override IReadOnlyList<TaskRequest> Requests(string before, string delimiter) =>
        [new GenerationRequest(before + Question, Rule.StopStrings, Rule.MaxTokens)];

    public override IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses) =>
    [
        .. Rule.Filters.Select(filter => new ItemScore(
            "exact_match", filter.Name, Rule.Normalize(filter.Extract(responses[0].Text!)) == Rule.Normalize(Answer) ? 1 : 0)),
    ];
}

/// <summary>A text of which every token is predicted.</summary>
/// <param name="Source">As the data set has it: its words and bytes are what the log-likelihood is spread over.</param>
/// <param name="Text">As the model reads it.</param>
internal sealed record DocumentItem(string Source, string Text) : TaskItem
{
    public override string Target => string.Empty;

    public override string Example(string delimiter) => throw new NotSupportedException("A task of whole texts has no examples.");

    public override IReadOnlyList<TaskRequest> Requests(string before, string delimiter) => [new DocumentRequest(Text)];

    public override IReadOnlyList<ItemScore> Score(IReadOnlyList<TaskResponse> responses)
    {
        double likelihood = responses[0].LogLikelihood;
        int words = Detokenizer.CountWords(Source);
        int bytes = Encoding.UTF8.GetByteCount(Source);
        return
        [
            new ItemScore("bits_per_byte", ItemScore.NoFilter, likelihood, bytes),
            new ItemScore("byte_perplexity", ItemScore.NoFilter, likelihood, bytes),
            new ItemScore("word_perplexity", ItemScore.NoFilter, likelihood, words),
        ];
    }
}
