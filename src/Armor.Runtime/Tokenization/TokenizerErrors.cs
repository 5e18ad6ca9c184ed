using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Tokenization;

/// <summary>The one place where a tokenizer file's problem becomes an exception.</summary>
internal static class TokenizerErrors
{
    internal static CheckpointException Create(string file, string problem, string? expected = null, string? found = null, Exception? cause = null) =>
        new(file, problem, expected: expected, found: found is null ? null : Shorten(found), innerException: cause);

    /// <summary>A file's own words may be megabytes long; a message takes their start.</summary>
    internal static string Shorten(string text) => text.Length <= 120 ? text : text[..120] + "…";
}
