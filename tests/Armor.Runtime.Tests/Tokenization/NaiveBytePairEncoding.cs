using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Armor.Runtime.Tests.Tokenization;

/// <summary>The textbook's byte-level BPE, slow and without shortcuts: split, spell in bytes, merge the best pair until none is left.</summary>
internal sealed class NaiveBytePairEncoding
{
    private readonly Dictionary<string, int> vocabulary = [];
    private readonly Dictionary<(string Left, string Right), int> ranks = [];
    private readonly Dictionary<string, int[]> known = [];
    private readonly char[] alphabet = TinyTokenizer.ByteCharacters();
    private readonly Regex pattern;
    private readonly bool ignoreMerges;

    public NaiveBytePairEncoding(string tokenizerJson, string pattern)
    {
        this.pattern = new Regex(pattern, RegexOptions.CultureInvariant);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(tokenizerJson));
        JsonElement model = document.RootElement.GetProperty("model");
        ignoreMerges = model.TryGetProperty("ignore_merges", out JsonElement flag) && flag.GetBoolean();
        foreach (JsonProperty entry in model.GetProperty("vocab").EnumerateObject())
        {
            vocabulary[entry.Name] = entry.Value.GetInt32();
        }

        foreach (JsonElement merge in model.GetProperty("merges").EnumerateArray())
        {
            string[] parts = merge.ValueKind == JsonValueKind.Array ? [merge[0].GetString()!, merge[1].GetString()!] : merge.GetString()!.Split(' ');
            ranks[(parts[0], parts[1])] = ranks.Count;
        }
    }

    public List<int> Encode(string text)
    {
        var ids = new List<int>();
        foreach (Match match in pattern.Matches(text))
        {
            if (!known.TryGetValue(match.Value, out int[]? piece))
            {
                known[match.Value] = piece = EncodePiece(match.Value);
            }

            ids.AddRange(piece);
        }

        return ids;
    }

    private int[] EncodePiece(string piece)
    {
        List<string> parts = [.. Encoding.UTF8.GetBytes(piece).Select(value => alphabet[value].ToString())];
        if (ignoreMerges && vocabulary.TryGetValue(string.Concat(parts), out int whole))
        {
            return [whole];
        }

        while (parts.Count > 1)
        {
            int best = Enumerable.Range(0, parts.Count - 1).MinBy(index => ranks.GetValueOrDefault((parts[index], parts[index + 1]), int.MaxValue));
            if (!ranks.ContainsKey((parts[best], parts[best + 1])))
            {
                break;
            }

            parts[best] += parts[best + 1];
            parts.RemoveAt(best + 1);
        }

        return [.. parts.Select(part => vocabulary[part])];
    }
}
