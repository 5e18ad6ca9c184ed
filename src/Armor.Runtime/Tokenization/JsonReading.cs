using System.Text.Json;

namespace Armor.Runtime.Tokenization;

/// <summary>Reads members of an untrusted JSON object, each broken expectation named with file and key.</summary>
internal readonly struct JsonReading(string file, string place, JsonElement element)
{
    internal string File => file;

    internal string Place => place;

    internal JsonElement Element => element;

    internal bool IsNull => element.ValueKind is JsonValueKind.Null or JsonValueKind.Undefined;

    internal JsonReading Object(string key)
    {
        JsonReading member = Optional(key);
        member.Require(JsonValueKind.Object);
        return member;
    }

    /// <summary>A member, or an undefined element where it is absent.</summary>
    internal JsonReading Optional(string key)
    {
        Require(JsonValueKind.Object);
        return new JsonReading(file, place.Length == 0 ? key : $"{place}.{key}", element.TryGetProperty(key, out JsonElement member) ? member : default);
    }

    internal IEnumerable<JsonReading> Array(string key)
    {
        JsonReading member = Optional(key);
        member.Require(JsonValueKind.Array);
        string name = member.Place;
        string source = file;
        return member.Element.EnumerateArray().Select((item, index) => new JsonReading(source, $"{name}[{index}]", item));
    }

    internal string String(string key) => Optional(key).AsString();

    internal string AsString()
    {
        Require(JsonValueKind.String);
        try
        {
            return element.GetString()!;
        }
        catch (InvalidOperationException exception)
        {
            throw TokenizerErrors.Create(file, $"'{place}' is not a valid string", "well-formed UTF-16", element.GetRawText(), exception);
        }
    }

    internal string Type() => String("type");

    internal bool Flag(string key, bool whenAbsent = false)
    {
        JsonReading member = Optional(key);
        return member.Element.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null or JsonValueKind.Undefined => whenAbsent,
            _ => throw Wrong(member.Place, "true or false", member.Element),
        };
    }

    internal int TokenId(string key)
    {
        JsonReading member = Optional(key);
        return AsTokenId(file, $"'{member.Place}'", member.Element);
    }

    internal static int AsTokenId(string file, string place, JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.Number && element.TryGetInt32(out int id) && id >= 0 && id < TokenizerDefinition.MaximumVocabulary)
        {
            return id;
        }

        string found = element.ValueKind == JsonValueKind.Undefined ? "nothing" : element.GetRawText();
        throw TokenizerErrors.Create(file, $"{place} is not a token id", $"an integer from 0 to {TokenizerDefinition.MaximumVocabulary - 1}", found);
    }

    internal void Require(JsonValueKind kind)
    {
        if (element.ValueKind != kind)
        {
            throw Wrong(place.Length == 0 ? "the whole file" : place, $"a JSON {kind.ToString().ToLowerInvariant()}", element);
        }
    }

    private Checkpoints.CheckpointException Wrong(string name, string expected, JsonElement found) =>
        TokenizerErrors.Create(
            file, $"'{name}' has the wrong type", expected, found.ValueKind == JsonValueKind.Undefined ? "nothing" : TokenizerErrors.Shorten(found.GetRawText()));
}
