using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>What a model's makers recommend in <c>generation_config.json</c>.</summary>
/// <param name="Options">How tokens are chosen; null where the file says nothing of it, or is not there.</param>
/// <param name="EndOfSequence">Tokens that end a text; may be empty.</param>
internal sealed record RecommendedGeneration(GenerationOptions? Options, IReadOnlyList<int> EndOfSequence)
{
    private const string FileName = "generation_config.json";

    // That of the format's own class, for files that sample and do not name one.
    private const int StandardTopK = 50;

    private static readonly string[] Choices = ["do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"];

    /// <summary>Reads the file.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="vocabulary">Number of tokens.</param>
    /// <exception cref="CheckpointException">The file cannot be read, is no JSON object, or has values that are out of range; the message lists every one.</exception>
    public static RecommendedGeneration Read(string folder, int vocabulary)
    {
        var file = Path.Combine(folder, FileName);
        return File.Exists(file)
            ? Json.ReadObject(file, "the file", Json.ReadFile(file), root => Parse(root, file, vocabulary))
            : new RecommendedGeneration(null, []);
    }

    private static RecommendedGeneration Parse(JsonElement root, string file, int vocabulary)
    {
        var violations = new List<string>();
        var reader = new ConfigurationReader(root, string.Empty, violations);
        var samples = reader.Flag("do_sample", false);
        var temperature = reader.Number("temperature", 1, value => value >= 0, "a number of at least 0");
        var topK = (int)reader.Number("top_k", StandardTopK, value => value is >= 0 and <= int.MaxValue && value % 1 == 0, "a whole number of at least 0");
        var topP = reader.Number("top_p", 1, value => value is > 0 and <= 1, "a number above 0 and at most 1");
        var minP = reader.Number("min_p", 0, value => value is >= 0 and <= 1, "a number from 0 to 1");
        var penalty = reader.Number("repetition_penalty", 1, value => value > 0, "a number above 0");
        var ends = reader.Tokens("eos_token_id", vocabulary);
        if (violations.Count > 0)
        {
            throw new CheckpointException(file, string.Join("; ", violations));
        }

        var options = GenerationOptions.Greedy with { RepetitionPenalty = penalty };
        if (samples)
        {
            // No limit is written as 0 or null.
            options = options with { Temperature = temperature, TopK = topK == 0 || IsNull("top_k") ? null : topK, TopP = topP, MinP = minP };
        }

        return new RecommendedGeneration(Choices.Any(reader.Has) ? options : null, ends);

        bool IsNull(string key) => reader.Has(key) && reader.Find(key) is null;
    }
}
