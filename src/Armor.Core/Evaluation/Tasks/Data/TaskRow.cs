using System.Globalization;
using System.Text.Json;

namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>A row of a data set, or an object within one. What is asked for and is not there is an error that names the place.</summary>
/// <param name="place">The file and the row, as messages show them.</param>
/// <param name="fields">An object.</param>
/// <param name="path">Of the object within the row, such as <c>choices.</c>; empty for the row.</param>
internal sealed class TaskRow(string place, JsonElement fields, string path = "")
{
    private const int MostShown = 60;

    /// <summary>Whether there is such a field, and not null.</summary>
    public bool Has(string field) => fields.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    /// <summary>A text.</summary>
    public string Text(string field) => AsText(Value(field, "a text"), field);

    /// <summary>A text, or null where the field is null or missing.</summary>
    public string? OptionalText(string field) => Has(field) ? Text(field) : null;

    /// <summary>A list of texts.</summary>
    /// <param name="field">The field.</param>
    /// <param name="count">How many there must be; null for any number above 0.</param>
    public IReadOnlyList<string> Texts(string field, int? count = null)
    {
        string expected = count is { } number ? Invariant($"a list of {number} texts") : "a list of texts";
        JsonElement value = Value(field, expected);
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0 || (count is { } wanted && value.GetArrayLength() != wanted))
        {
            throw Wrong(field, expected, value.ValueKind == JsonValueKind.Array ? Invariant($"a list of {value.GetArrayLength()}") : Show(value));
        }

        return [.. value.EnumerateArray().Select((item, index) => AsText(item, Invariant($"{field}[{index}]")))];
    }

    /// <summary>A whole number, which may be written as a text.</summary>
    /// <param name="field">The field.</param>
    /// <param name="minimum">The least allowed.</param>
    /// <param name="maximum">The most allowed.</param>
    public int Integer(string field, int minimum, int maximum)
    {
        string expected = Invariant($"a whole number from {minimum} to {maximum}");
        JsonElement value = Value(field, expected);
        bool isNumber = value.ValueKind switch
        {
            JsonValueKind.Number => value.TryGetInt32(out _),
            JsonValueKind.String => int.TryParse(value.GetString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _),
            _ => false,
        };
        if (isNumber)
        {
            int number = value.ValueKind == JsonValueKind.Number ? value.GetInt32() : int.Parse(value.GetString()!, CultureInfo.InvariantCulture);
            if (number >= minimum && number <= maximum)
            {
                return number;
            }
        }

        throw Wrong(field, expected, Show(value));
    }

    /// <summary>True or false.</summary>
    public bool Truth(string field)
    {
        JsonElement value = Value(field, "true or false");
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(field, "true or false", Show(value));
    }

    /// <summary>An object within the row.</summary>
    public TaskRow Part(string field)
    {
        JsonElement value = Value(field, "an object");
        return value.ValueKind == JsonValueKind.Object ? new TaskRow(place, value, $"{path}{field}.") : throw Wrong(field, "an object", Show(value));
    }

    /// <summary>The error of a field that is not as it must be.</summary>
    public TaskDataException Wrong(string field, string expected, string found) =>
        new($"{place}, field \"{path}{field}\": expected {expected}, found {found}.");

    /// <summary>A value as messages show it.</summary>
    public static string Show(string text) => text.Length <= MostShown ? $"\"{text}\"" : $"\"{text[..MostShown]}…\"";

    private static string Show(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => Show(value.GetString()!),
        JsonValueKind.Array => "a list",
        JsonValueKind.Object => "an object",
        _ => value.GetRawText(),
    };

    private string AsText(JsonElement value, string field)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Wrong(field, "a text", Show(value));
        }
        catch (InvalidOperationException exception) // half of a surrogate pair, written as an escape
        {
            throw new TaskDataException($"{place}, field \"{path}{field}\": expected a text, found one that is no Unicode.", exception);
        }
    }

    private JsonElement Value(string field, string expected) =>
        fields.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? value
            : throw Wrong(field, expected, value.ValueKind == JsonValueKind.Null ? "null" : $"no such field among {string.Join(", ", fields.EnumerateObject().Select(each => each.Name).Take(20))}");

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
