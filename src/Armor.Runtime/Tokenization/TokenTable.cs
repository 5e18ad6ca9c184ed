using System.Globalization;
using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>What each id stands for: its name, its bytes in decoded text, and whether it is special.</summary>
internal sealed class TokenTable
{
    private readonly string?[] names;
    private readonly byte[]?[] bytes;
    private readonly bool[] special;

    /// <param name="vocabulary">Names and ids.</param>
    /// <param name="added">Added tokens: they stand for their own text.</param>
    /// <param name="byteLevel">Whether names are written in the byte-level alphabet; else with <c>▁</c> for a space and <c>&lt;0xHH&gt;</c> for a byte.</param>
    internal TokenTable(IEnumerable<KeyValuePair<string, int>> vocabulary, IReadOnlyList<AddedToken> added, bool byteLevel)
    {
        int count = 0;
        foreach ((_, int id) in vocabulary)
        {
            count = Math.Max(count, id + 1);
        }

        foreach (AddedToken token in added)
        {
            count = Math.Max(count, token.Id + 1);
        }

        names = new string?[count];
        bytes = new byte[]?[count];
        special = new bool[count];
        foreach ((string name, int id) in vocabulary)
        {
            names[id] = name;
            bytes[id] = byteLevel ? FromByteLevel(name) : FromSentencePiece(name);
        }

        foreach (AddedToken token in added)
        {
            names[token.Id] = token.Content;
            bytes[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            special[token.Id] = token.Special;
        }
    }

    internal int Count => names.Length;

    internal string? Name(int id) => (uint)id < (uint)names.Length ? names[id] : null;

    internal bool IsSpecial(int id) => (uint)id < (uint)special.Length && special[id];

    /// <summary>The bytes of a token.</summary>
    /// <exception cref="ArgumentOutOfRangeException">No token has this id.</exception>
    internal ReadOnlySpan<byte> Bytes(int id)
    {
        byte[]? found = (uint)id < (uint)bytes.Length ? bytes[id] : null;
        return found ?? throw new ArgumentOutOfRangeException(nameof(id), id, $"No token has the id {id}; the vocabulary ends at {names.Length - 1}.");
    }

    private static byte[] FromByteLevel(string name)
    {
        var result = new byte[name.Length];
        for (int index = 0; index < name.Length; index++)
        {
            if (!ByteLevelAlphabet.TryToByte(name[index], out result[index]))
            {
                return Encoding.UTF8.GetBytes(name); // not written in the alphabet: it stands for itself
            }
        }

        return result;
    }

    private static byte[] FromSentencePiece(string name) =>
        name.Length == 6 && name.StartsWith("<0x", StringComparison.Ordinal) && name[5] == '>'
            && byte.TryParse(name.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value)
            ? [value]
            : Encoding.UTF8.GetBytes(name.Replace('▁', ' '));
}
