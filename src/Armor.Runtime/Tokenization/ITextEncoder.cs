namespace Armor.Runtime.Tokenization;

/// <summary>Turns plain text, free of added tokens, into ids. Safe for several threads.</summary>
internal interface ITextEncoder
{
    /// <summary>Appends the ids of a stretch of text.</summary>
    /// <param name="text">The stretch, not empty.</param>
    /// <param name="first">Whether it starts the whole text.</param>
    /// <param name="tokens">Receives the ids.</param>
    void Encode(string text, bool first, List<int> tokens);
}
