namespace Armor.Runtime.Chat;

/// <summary>One turn of a conversation.</summary>
/// <param name="Role">Who says it.</param>
/// <param name="Text">What is said; special tokens written out in it are only characters.</param>
public sealed record ChatTurn(ChatTurnRole Role, string Text);
