namespace Armor.Runtime.Chat;

/// <summary>
/// How a conversation is written for a model: the form that it was trained on. <see cref="ChatTemplates.Load"/> finds a checkpoint's own; a model
/// with another one needs an implementation of this interface.
/// </summary>
public interface IChatTemplate
{
    /// <summary>
    /// The special tokens that end an answer, such as <c>&lt;|eot_id|&gt;</c>, as they are written. The tokenizer must have one of them at least;
    /// the model's own ends of sequence end an answer too.
    /// </summary>
    IReadOnlyList<string> EndTokens { get; }

    /// <summary>Writes a conversation up to where the assistant's next answer begins.</summary>
    /// <param name="turns">At least one turn, the oldest first.</param>
    /// <param name="prompt">Receives the conversation.</param>
    /// <exception cref="ArgumentException">The template cannot express these turns.</exception>
    void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt);
}
