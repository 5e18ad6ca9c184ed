namespace Armor.Runtime.Chat;

/// <summary>Who says a turn of a conversation.</summary>
public enum ChatTurnRole
{
    /// <summary>The application, which tells the model how to behave.</summary>
    System,

    /// <summary>Whoever talks to the model.</summary>
    User,

    /// <summary>The model.</summary>
    Assistant,
}
