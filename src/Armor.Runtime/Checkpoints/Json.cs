using System.Text.Json;

namespace Armor.Runtime.Checkpoints;

/// <summary>Reads untrusted JSON: whatever is wrong with it becomes a <see cref="CheckpointException"/>.</summary>
internal static class Json
{
    /// <summary>A small file's bytes; an unreadable file is a <see cref="CheckpointException"/>.</summary>
    public static byte[] ReadFile(string file)
    {
        try
        {
            return File.ReadAllBytes(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(file, $"the file cannot be read: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }

    /// <summary>Runs <paramref name="read"/> over the root, which must be an object.</summary>
    public static T ReadObject<T>(string file, string what, ReadOnlyMemory<byte> json, Func<JsonElement, T> read)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw new CheckpointException(file, $"{what} is not a JSON object", null, "an object", Describe(document.RootElement));
            }

            return read(document.RootElement);
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(file, $"{what} is not valid JSON: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
        catch (InvalidOperationException exception)
        {
            // System.Text.Json's answer to a string that is not valid UTF-8 or UTF-16.
            throw new CheckpointException(file, $"{what} holds text that is not valid Unicode", innerException: exception);
        }
    }

    /// <summary>The element's kind and text, cut short, for an error message.</summary>
    public static string Describe(JsonElement element)
    {
        var text = element.GetRawText().ReplaceLineEndings(" ");
        return text.Length <= 60 ? text : string.Concat(text.AsSpan(0, 57), "...");
    }
}
