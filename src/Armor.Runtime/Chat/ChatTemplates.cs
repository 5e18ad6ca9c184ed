using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Chat;

/// <summary>Finds a checkpoint's chat template, and applies templates.</summary>
public static class ChatTemplates
{
    /// <summary>
    /// The template of a checkpoint: the one that <c>chat_template.jinja</c> or <c>chat_template</c> in <c>tokenizer_config.json</c> is recognised
    /// as, or where there is neither, the one that the tokenizer's special tokens belong to. Templates are recognised, not run.
    /// </summary>
    /// <param name="folder">A model folder in Hugging Face layout.</param>
    /// <param name="tokenizer">The folder's tokenizer.</param>
    /// <returns>
    /// A <see cref="Llama3Template"/>, <see cref="ChatMLTemplate"/>, <see cref="GemmaTemplate"/>, <see cref="Phi3Template"/>, <see cref="MistralTemplate"/> or
    /// <see cref="Llama2Template"/>.
    /// </returns>
    /// <exception cref="CheckpointException">There is no template, it is of another kind, or the tokenizer lacks its special tokens.</exception>
    public static IChatTemplate Load(string folder, ModelTokenizer tokenizer)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentNullException.ThrowIfNull(tokenizer);
        var (file, text) = ChatTemplateFile.Read(folder);
        var template = text is null ? TemplateRecognition.OfSpecialTokens(tokenizer) : TemplateRecognition.OfText(text);
        if (template is null)
        {
            throw TokenizerErrors.Create(
                file,
                text is null ? "the folder has no chat template" : "the chat template is of a kind that is not known",
                TemplateRecognition.Known + ", or an IChatTemplate of your own in its place",
                text ?? "none, and a tokenizer without their special tokens");
        }

        try
        {
            template.Encode([new ChatTurn(ChatTurnRole.User, "?")], tokenizer);
            template.FindEndTokens(tokenizer);
        }
        catch (ArgumentException exception)
        {
            throw TokenizerErrors.Create(file, "the chat template and the tokenizer do not belong together", found: exception.Message.TrimEnd('.'), cause: exception);
        }

        return template;
    }

    /// <summary>The tokens of a conversation up to where the assistant's next answer begins.</summary>
    /// <param name="template">How it is written.</param>
    /// <param name="turns">At least one turn, the oldest first.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <exception cref="ArgumentException">
    /// There is no turn, the template cannot express the turns, or the tokenizer lacks one of its special tokens.
    /// </exception>
    public static IReadOnlyList<int> Encode(this IChatTemplate template, IReadOnlyList<ChatTurn> turns, ModelTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(turns);
        ArgumentNullException.ThrowIfNull(tokenizer);
        if (turns.Count == 0)
        {
            throw new ArgumentException("A conversation needs at least one turn.", nameof(turns));
        }

        var prompt = new ChatPrompt(tokenizer);
        template.Write(turns, prompt);
        return prompt.Finish();
    }

    /// <summary>The ids of those of <see cref="IChatTemplate.EndTokens"/> that a tokenizer has.</summary>
    /// <param name="template">The template.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <exception cref="ArgumentException">It has none of them.</exception>
    public static IReadOnlyList<int> FindEndTokens(this IChatTemplate template, ModelTokenizer tokenizer)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(tokenizer);
        int[] found = [.. template.EndTokens.Where(tokenizer.SpecialTokens.ContainsKey).Select(token => tokenizer.SpecialTokens[token])];
        return found.Length > 0
            ? found
            : throw new ArgumentException(
                $"The chat template ends an answer with '{string.Join("' or '", template.EndTokens)}', of which the tokenizer has none.", nameof(tokenizer));
    }

    internal static string NameOf(ChatTurnRole role) => role switch
    {
        ChatTurnRole.System => "system",
        ChatTurnRole.User => "user",
        ChatTurnRole.Assistant => "assistant",
        _ => throw new ArgumentOutOfRangeException(nameof(role), role, "There is no such role."),
    };
}
