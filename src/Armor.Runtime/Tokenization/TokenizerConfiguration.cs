using System.Text.Json;

namespace Armor.Runtime.Tokenization;

/// <summary>What <c>tokenizer_config.json</c> says of the start of a sequence; older folders keep it only there.</summary>
/// <param name="AddBeginOfSequence">Whether sequences start with the token, or null where the file says nothing or is absent.</param>
/// <param name="BeginOfSequence">The token's written form, or null.</param>
internal sealed record TokenizerConfiguration(bool? AddBeginOfSequence, string? BeginOfSequence)
{
    /// <summary>Reads the file beside a tokenizer.</summary>
    /// <exception cref="Checkpoints.CheckpointException">The file is there and not valid.</exception>
    internal static TokenizerConfiguration Read(string tokenizerPath)
    {
        string path = Path.Combine(Path.GetDirectoryName(tokenizerPath) ?? string.Empty, "tokenizer_config.json");
        if (!File.Exists(path))
        {
            return new TokenizerConfiguration(null, null);
        }

        using JsonDocument document = TokenizerJson.Parse(path);
        var reading = new JsonReading(path, string.Empty, document.RootElement);
        JsonReading token = reading.Optional("bos_token");
        string? written = token.Element.ValueKind switch
        {
            JsonValueKind.String => token.AsString(),
            JsonValueKind.Object => token.String("content"),
            _ => null,
        };
        return new TokenizerConfiguration(reading.Optional("add_bos_token").IsNull ? null : reading.Flag("add_bos_token"), written);
    }
}
