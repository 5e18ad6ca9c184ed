using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// Decodes tokens one by one as they are generated. A character whose UTF-8 bytes are spread over several tokens comes out with its last one;
/// bytes that are no UTF-8 become U+FFFD. Made by <see cref="ModelTokenizer.CreateDecoder"/>; for one sequence and one thread.
/// </summary>
public sealed class TokenDecoder
{
    private readonly TokenTable table;
    private readonly bool skipSpecialTokens;
    private readonly Decoder decoder = new UTF8Encoding(false).GetDecoder();
    private bool stripSpace;

    internal TokenDecoder(TokenTable table, bool stripSpace, bool skipSpecialTokens)
    {
        this.table = table;
        this.stripSpace = stripSpace;
        this.skipSpecialTokens = skipSpecialTokens;
    }

    /// <summary>Adds a token.</summary>
    /// <param name="token">Its id.</param>
    /// <returns>The text that is complete now; often empty.</returns>
    /// <exception cref="ArgumentOutOfRangeException">No token has this id.</exception>
    public string Append(int token)
    {
        ReadOnlySpan<byte> bytes = table.Bytes(token);
        if (bytes.IsEmpty || (skipSpecialTokens && table.IsSpecial(token)))
        {
            return string.Empty;
        }

        if (stripSpace)
        {
            stripSpace = false;
            bytes = bytes[0] == (byte)' ' ? bytes[1..] : bytes;
        }

        return Decode(bytes, flush: false);
    }

    /// <summary>Ends the sequence.</summary>
    /// <returns>U+FFFD for the bytes of a character that never became whole, or an empty text.</returns>
    public string Finish() => Decode([], flush: true);

    private string Decode(ReadOnlySpan<byte> bytes, bool flush)
    {
        int count = decoder.GetCharCount(bytes, flush);
        Span<char> characters = count <= 256 ? stackalloc char[count] : new char[count];
        int written = decoder.GetChars(bytes, characters, flush);
        return new string(characters[..written]);
    }
}
