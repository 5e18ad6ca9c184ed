namespace Armor.Runtime.Tokenization;

/// <summary>What a tokenizer's file says, checked: everything that encoding and decoding need.</summary>
internal sealed class TokenizerDefinition
{
    /// <summary>More tokens than any published vocabulary by a factor of sixty; keeps a lying file from asking for gigabytes.</summary>
    internal const int MaximumVocabulary = 1 << 24;

    internal required string Source { get; init; }

    internal required IReadOnlyDictionary<string, int> Vocabulary { get; init; }

    internal required IReadOnlyList<MergeRule> Merges { get; init; }

    internal required bool ByteLevel { get; init; }

    /// <summary>Whether characters that the vocabulary lacks are spelt in byte tokens.</summary>
    internal required bool ByteFallback { get; init; }

    internal required bool IgnoreMerges { get; init; }

    internal required int? UnknownToken { get; init; }

    internal required TextNormalizer Normalizer { get; init; }

    internal required PieceSplitter Splitter { get; init; }

    internal required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    /// <summary>Pieces that are found in a piece of text before merging and never merge themselves.</summary>
    internal IReadOnlyList<AddedToken> Unsplit { get; init; } = [];

    internal required int? BeginOfSequence { get; init; }

    /// <summary>Whether encoding puts a space before the text, so that decoding takes one off.</summary>
    internal required bool PrependsSpace { get; init; }
}

/// <summary>Two neighbouring tokens become one; the lowest rank first.</summary>
internal readonly record struct MergeRule(int Left, int Right, int Result, int Rank);

/// <summary>A token that is found in the text before anything else is done to it.</summary>
internal sealed record AddedToken(int Id, string Content, bool Special, bool StripLeft, bool StripRight, bool SingleWord);
