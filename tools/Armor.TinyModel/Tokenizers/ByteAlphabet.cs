namespace Armor.TinyModel.Tokenizers;

/// <summary>The printable characters that stand for bytes in byte-level BPE vocabularies, as GPT-2 chose them.</summary>
internal static class ByteAlphabet
{
    /// <summary>The character of each byte.</summary>
    public static readonly char[] Characters = Create();

    private static char[] Create()
    {
        var characters = new char[256];
        var next = 256;
        for (var value = 0; value < 256; value++)
        {
            var isPrintable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            characters[value] = isPrintable ? (char)value : (char)next++;
        }

        return characters;
    }
}
