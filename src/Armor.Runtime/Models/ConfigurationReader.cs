using System.Globalization;
using System.Text.Json;

namespace Armor.Runtime.Models;

/// <summary>
/// Reads typed values out of a JSON object and notes every violation instead of stopping at the first. A value that is absent or null is
/// the default; one that is wrong is noted and the default returned.
/// </summary>
internal sealed class ConfigurationReader(JsonElement root, string prefix, List<string> violations)
{
    public void Note(string key, string expected, string found) => violations.Add($"{prefix}{key}: expected {expected}, found {found}");

    public JsonElement? Find(string key) =>
        root.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A nested object; one of another kind is noted.</summary>
    public ConfigurationReader? Object(string key)
    {
        if (Find(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.Object)
        {
            return Nested(key, value);
        }

        Note(key, "an object", Show(value));
        return null;
    }

    public bool Has(string key) => root.TryGetProperty(key, out _);

    /// <summary>A whole number in [1, maximum]; <paramref name="fallback"/> null makes the key a duty.</summary>
    public int Size(string key, int maximum, int? fallback = null)
    {
        var expected = $"a whole number from 1 to {maximum.ToString(CultureInfo.InvariantCulture)}";
        if (Find(key) is not { } value)
        {
            if (fallback is null)
            {
                Note(key, expected, "nothing");
            }

            return fallback ?? 0;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) && number >= 1 && number <= maximum)
        {
            return (int)number;
        }

        Note(key, expected, Show(value));
        return 0;
    }

    public double Number(string key, double fallback, Func<double, bool> isGood, string expected)
    {
        if (Find(key) is not { } value)
        {
            return fallback;
        }

        if (value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var number) && double.IsFinite(number) && isGood(number))
        {
            return number;
        }

        Note(key, expected, Show(value));
        return fallback;
    }

    /// <summary>An array of so many numbers above 0; a duty.</summary>
    public IReadOnlyList<double> PositiveNumbers(string key, int count)
    {
        var numbers = new List<double>();
        if (Find(key) is { ValueKind: JsonValueKind.Array } array && array.GetArrayLength() == count)
        {
            foreach (var element in array.EnumerateArray())
            {
                if (element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out var number) && double.IsFinite(number) && number > 0)
                {
                    numbers.Add(number);
                }
            }
        }

        if (numbers.Count != count)
        {
            Note(key, $"an array of {count} numbers above 0", Find(key) is { } found ? Show(found) : "nothing");
            return [.. Enumerable.Repeat(1.0, count)];
        }

        return numbers;
    }

    public bool Flag(string key, bool fallback)
    {
        if (Find(key) is not { } value)
        {
            return fallback;
        }

        if (value.ValueKind is JsonValueKind.True or JsonValueKind.False)
        {
            return value.GetBoolean();
        }

        Note(key, "true or false", Show(value));
        return fallback;
    }

    public string? Text(string key)
    {
        if (Find(key) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            return value.GetString();
        }

        Note(key, "a string", Show(value));
        return null;
    }

    /// <summary>A token or an array of tokens, each in [0, vocabulary); -1, which some tools write for none, is skipped.</summary>
    public IReadOnlyList<int> Tokens(string key, int vocabulary)
    {
        if (Find(key) is not { } value)
        {
            return [];
        }

        var elements = value.ValueKind == JsonValueKind.Array ? [.. value.EnumerateArray()] : new[] { value };
        var tokens = new List<int>();
        foreach (var element in elements)
        {
            if (element.ValueKind != JsonValueKind.Number || !element.TryGetInt32(out var token) || token < -1 || token >= vocabulary)
            {
                Note(key, $"tokens from 0 to {vocabulary - 1}", Show(value));
                return [];
            }

            if (token >= 0)
            {
                tokens.Add(token);
            }
        }

        return tokens;
    }

    public static string Show(JsonElement value)
    {
        var text = value.GetRawText();
        return text.Length <= 80 ? text : string.Concat(text.AsSpan(0, 77), "...");
    }

    private ConfigurationReader Nested(string key, JsonElement value) => new(value, $"{prefix}{key}.", violations);
}
