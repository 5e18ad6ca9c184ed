using Armor.Runtime.Generation;

namespace Armor.Runtime.Chat;

/// <summary>Answers in a conversation.</summary>
public static class ChatExtensions
{
    /// <summary>Generates the assistant's next answer, computed while it is read.</summary>
    /// <param name="model">The model.</param>
    /// <param name="turns">The conversation so far: at least one turn, the oldest first.</param>
    /// <param name="options">Null for <see cref="ArmorModel.RecommendedOptions"/>, or greedy where there are none; the template's end tokens end the answer beside what these options say.</param>
    /// <param name="template">How the conversation is written; null for <see cref="ArmorModel.ChatTemplate"/>.</param>
    /// <param name="session">
    /// A session to answer in, or null for a new one. Where the conversation starts as what the session holds, as it does from one answer to the next,
    /// only what is new is computed.
    /// </param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One update a token; the last one, and only it, has a <see cref="GenerationUpdate.FinishReason"/>.</returns>
    /// <exception cref="ArgumentException">
    /// An option is out of range, the template cannot express the turns, they are longer than the context, or the session is another model's.
    /// </exception>
    /// <exception cref="Checkpoints.CheckpointException">The folder has no tokenizer, or no chat template that is known.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public static IEnumerable<GenerationUpdate> Answer(
        this ArmorModel model,
        IReadOnlyList<ChatTurn> turns,
        GenerationOptions? options = null,
        IChatTemplate? template = null,
        GenerationSession? session = null,
        CancellationToken cancellationToken = default)
    {
        var (prompt, stopping) = Prepare(model, turns, options, template);
        return model.Stream(prompt, stopping, session, cancellationToken);
    }

    /// <summary>Generates the assistant's next answer like <see cref="Answer"/>, off the caller's thread.</summary>
    /// <param name="model">The model.</param>
    /// <param name="turns">The conversation so far.</param>
    /// <param name="options">See <see cref="Answer"/>.</param>
    /// <param name="template">See <see cref="Answer"/>.</param>
    /// <param name="session">See <see cref="Answer"/>; not to be used elsewhere before the loop is left.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One update a token; the last one, and only it, has a <see cref="GenerationUpdate.FinishReason"/>.</returns>
    /// <inheritdoc cref="Answer" path="/exception"/>
    public static IAsyncEnumerable<GenerationUpdate> AnswerAsync(
        this ArmorModel model,
        IReadOnlyList<ChatTurn> turns,
        GenerationOptions? options = null,
        IChatTemplate? template = null,
        GenerationSession? session = null,
        CancellationToken cancellationToken = default)
    {
        var (prompt, stopping) = Prepare(model, turns, options, template);
        return model.StreamAsync(prompt, stopping, session, cancellationToken);
    }

    private static (IReadOnlyList<int> Prompt, GenerationOptions Options) Prepare(
        ArmorModel model, IReadOnlyList<ChatTurn> turns, GenerationOptions? options, IChatTemplate? template)
    {
        ArgumentNullException.ThrowIfNull(model);
        options ??= model.DefaultOptions;
        options.Validate();
        template ??= model.ChatTemplate;
        return (
            template.Encode(turns, model.Tokenizer),
            options with { StopTokens = [.. options.StopTokens, .. template.FindEndTokens(model.Tokenizer)] });
    }
}
