using System.IO.Compression;
using System.Text;
using System.Text.Json;

namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>Reads rows from JSON Lines, plain or gzipped, and from a JSON file with one list of objects.</summary>
internal static class JsonRows
{
    /// <summary>A longer row is refused, so that a file cannot fill the memory with one.</summary>
    private const int LongestLine = 1 << 26;

    /// <summary>The rows of a <c>.jsonl</c> or <c>.json.gz</c> file, read as they are asked for.</summary>
    public static IEnumerable<TaskRow> ReadLines(string path)
    {
        using Stream file = File.OpenRead(path);
        using Stream content = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using var reader = new StreamReader(content, new UTF8Encoding(false, throwOnInvalidBytes: true));
        for (int number = 1; ReadLine(reader, path, number) is { } line; number++)
        {
            if (!string.IsNullOrWhiteSpace(line))
            {
                string place = FormattableString.Invariant($"{path}, row {number}");
                yield return new TaskRow(place, Parse(line, place, JsonValueKind.Object));
            }
        }
    }

    /// <summary>The rows of a <c>.json</c> file: a list, or an object with a list in one field.</summary>
    /// <param name="path">The file.</param>
    /// <param name="field">The field; null where the file is a list.</param>
    public static IEnumerable<TaskRow> ReadList(string path, string? field)
    {
        if (new FileInfo(path).Length > LongestLine)
        {
            throw new TaskDataException(FormattableString.Invariant($"{path}: expected at most {LongestLine} bytes, found {new FileInfo(path).Length}."));
        }

        JsonElement rows = Parse(File.ReadAllText(path), path, field is null ? JsonValueKind.Array : JsonValueKind.Object);
        if (field is not null && (!rows.TryGetProperty(field, out rows) || rows.ValueKind != JsonValueKind.Array))
        {
            throw new TaskDataException($"{path}, field \"{field}\": expected a list of rows, found none.");
        }

        foreach ((int index, JsonElement row) in rows.EnumerateArray().Index())
        {
            string place = FormattableString.Invariant($"{path}, row {index + 1}");
            yield return row.ValueKind == JsonValueKind.Object
                ? new TaskRow(place, row)
                : throw new TaskDataException($"{place}: expected an object, found {row.ValueKind}.");
        }
    }

    private static JsonElement Parse(string text, string place, JsonValueKind expected)
    {
        JsonElement value;
        try
        {
            value = JsonElement.Parse(text);
        }
        catch (JsonException exception)
        {
            throw new TaskDataException($"{place}: expected JSON, found {TaskRow.Show(text.Trim())} ({exception.Message}).", exception);
        }

        return value.ValueKind == expected ? value : throw new TaskDataException($"{place}: expected an {expected}, found a JSON value of kind {value.ValueKind}.");
    }

    private static string? ReadLine(StreamReader reader, string path, int number)
    {
        var line = new StringBuilder();
        try
        {
            while (reader.Read() is var character and >= 0)
            {
                if (character == '\n')
                {
                    return line.ToString();
                }

                if (line.Length == LongestLine)
                {
                    throw new TaskDataException(FormattableString.Invariant($"{path}, row {number}: expected at most {LongestLine} characters, found more."));
                }

                line.Append((char)character);
            }
        }
        catch (Exception exception) when (exception is InvalidDataException or DecoderFallbackException or IOException)
        {
            throw new TaskDataException(FormattableString.Invariant($"{path}, row {number}: cannot be read: {exception.Message}"), exception);
        }

        return line.Length == 0 ? null : line.ToString();
    }
}
