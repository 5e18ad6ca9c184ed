using System.Text;
using System.Text.RegularExpressions;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// Byte-pair encoding by rank of pairs, over bytes (byte-level) or over characters with bytes for those that the vocabulary lacks (byte fallback).
/// Microsoft.ML.Tokenizers' BPE takes time quadratic in a piece's length, which a byte-fallback vocabulary makes as long as the text, and has
/// neither byte fallback nor ignore_merges; hence this one. Safe for several threads.
/// </summary>
internal sealed class BytePairEncoder
{
    private const int LongestCachedPiece = 32;

    private readonly TokenizerDefinition definition;
    private readonly Dictionary<string, int> vocabulary;
    private readonly Dictionary<long, BytePairMerger.Merge> merges;
    private readonly int[] byteTokens = new int[256];
    private readonly AddedTokenSplitter? unsplit;

    internal BytePairEncoder(TokenizerDefinition definition)
    {
        this.definition = definition;
        vocabulary = new Dictionary<string, int>(definition.Vocabulary, StringComparer.Ordinal);
        merges = BytePairMerger.Index(definition.Merges);
        unsplit = definition.Unsplit.Count == 0 ? null : new AddedTokenSplitter(definition.Unsplit);
        if (definition.ByteLevel || definition.ByteFallback)
        {
            FindByteTokens();
        }
        else if (definition.UnknownToken is null)
        {
            throw TokenizerErrors.Create(definition.Source, "characters outside the vocabulary have no token", "byte fallback or an unknown token", "neither");
        }
    }

    /// <summary>Appends the ids of a stretch of text, free of added tokens.</summary>
    /// <param name="text">The stretch, not empty.</param>
    /// <param name="first">Whether it starts the whole text.</param>
    /// <param name="tokens">Receives the ids.</param>
    /// <exception cref="Checkpoints.CheckpointException">The pre-tokenizer's pattern takes too long on this text.</exception>
    internal void Encode(string text, bool first, List<int> tokens)
    {
        var merger = new BytePairMerger(merges);
        var cache = new Dictionary<string, int[]>(StringComparer.Ordinal);
        try
        {
            foreach (string piece in definition.Splitter.Split(definition.Normalizer.Apply(text), first))
            {
                EncodePiece(piece, merger, cache, tokens);
            }
        }
        catch (RegexMatchTimeoutException exception)
        {
            throw TokenizerErrors.Create(definition.Source, "the pre-tokenizer's pattern takes too long on this text", "linear time", exception.Pattern, exception);
        }
    }

    private void FindByteTokens()
    {
        for (int value = 0; value < 256; value++)
        {
            string name = definition.ByteLevel ? ByteLevelAlphabet.ToCharacter((byte)value).ToString() : $"<0x{value:X2}>";
            if (vocabulary.TryGetValue(name, out int id))
            {
                byteTokens[value] = id;
            }
            else if (definition.UnknownToken is { } unknown)
            {
                byteTokens[value] = unknown;
            }
            else if (value is not (0xC0 or 0xC1 or >= 0xF5)) // these never occur in UTF-8
            {
                throw TokenizerErrors.Create(definition.Source, $"the vocabulary has no token for byte 0x{value:X2}", $"'{name}' or an unknown token", "neither");
            }
        }
    }

    private void EncodePiece(string piece, BytePairMerger merger, Dictionary<string, int[]> cache, List<int> tokens)
    {
        if (cache.TryGetValue(piece, out int[]? known))
        {
            tokens.AddRange(known);
            return;
        }

        int start = tokens.Count;
        if (definition.IgnoreMerges && vocabulary.TryGetValue(definition.ByteLevel ? ToByteLevel(piece) : piece, out int whole))
        {
            tokens.Add(whole);
        }
        else if (unsplit is null)
        {
            MergePiece(piece, merger, tokens);
        }
        else
        {
            unsplit.Split(piece, (from, length) => MergePiece(piece.AsSpan(from, length), merger, tokens), token => tokens.Add(token.Id));
        }

        if (piece.Length <= LongestCachedPiece)
        {
            cache[piece] = [.. tokens.GetRange(start, tokens.Count - start)];
        }
    }

    private void MergePiece(ReadOnlySpan<char> piece, BytePairMerger merger, List<int> tokens)
    {
        merger.Clear();
        if (definition.ByteLevel)
        {
            AddBytes(piece, merger);
        }
        else
        {
            AddCharacters(piece, merger);
        }

        merger.MergeInto(tokens);
    }

    private static string ToByteLevel(string piece) =>
        string.Create(Encoding.UTF8.GetByteCount(piece), piece, static (characters, text) =>
        {
            Span<byte> bytes = characters.Length <= 256 ? stackalloc byte[characters.Length] : new byte[characters.Length];
            Encoding.UTF8.GetBytes(text, bytes);
            for (int index = 0; index < characters.Length; index++)
            {
                characters[index] = ByteLevelAlphabet.ToCharacter(bytes[index]);
            }
        });

    private void AddBytes(ReadOnlySpan<char> text, BytePairMerger merger)
    {
        int count = Encoding.UTF8.GetByteCount(text);
        Span<byte> bytes = count <= 256 ? stackalloc byte[count] : new byte[count];
        Encoding.UTF8.GetBytes(text, bytes);
        foreach (byte value in bytes)
        {
            merger.Add(byteTokens[value]);
        }
    }

    private void AddCharacters(ReadOnlySpan<char> piece, BytePairMerger merger)
    {
        var lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        bool afterUnknown = false;
        for (int index = 0; index < piece.Length;)
        {
            int length = char.IsHighSurrogate(piece[index]) && index + 1 < piece.Length && char.IsLowSurrogate(piece[index + 1]) ? 2 : 1;
            ReadOnlySpan<char> character = piece.Slice(index, length);
            bool known = lookup.TryGetValue(character, out int id);
            if (known)
            {
                merger.Add(id);
            }
            else if (definition.ByteFallback)
            {
                AddBytes(character, merger);
            }
            else if (!afterUnknown)
            {
                merger.Add(definition.UnknownToken!.Value); // one for a whole run
            }

            afterUnknown = !known;

            index += length;
        }
    }
}
