using System.Collections;
using System.Text.Json;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.Serialization;

namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>Reads rows from a Parquet file, one row group at a time.</summary>
internal static class ParquetRows
{
    private const int DeepestNesting = 8;

    /// <summary>The rows of a file, read as they are asked for.</summary>
    public static IEnumerable<TaskRow> Read(string path)
    {
        using FileStream file = File.OpenRead(path);
        int groups = Run(path, async () =>
        {
            ParquetReader reader = await ParquetReader.CreateAsync(file, leaveStreamOpen: true).ConfigureAwait(false);
            await using (reader.ConfigureAwait(false))
            {
                return reader.RowGroupCount;
            }
        });
        int number = 0;
        for (int group = 0; group < groups; group++)
        {
            int index = group;
            var rows = Run(path, async () =>
            {
                file.Position = 0;
                return (await ParquetSerializer.DeserializeUntypedAsync(file, rowGroupIndex: index).ConfigureAwait(false)).Data;
            });
            foreach (var row in rows)
            {
                string place = FormattableString.Invariant($"{path}, row {++number}");
                yield return new TaskRow(place, JsonSerializer.SerializeToElement(ToJson(row, place, 0)));
            }
        }
    }

    /// <summary>A file from outside can make the reader fail in any way; whatever it is, it is the file's fault.</summary>
    private static T Run<T>(string path, Func<Task<T>> read)
    {
        try
        {
            return Task.Run(read).GetAwaiter().GetResult();
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new TaskDataException($"{path}: expected a Parquet file, found one that cannot be read: {exception.Message}", exception);
        }
    }

    private static JsonNode? ToJson(object? value, string place, int depth) => value switch
    {
        _ when depth > DeepestNesting => throw new TaskDataException($"{place}: expected values nested at most {DeepestNesting} deep, found deeper ones."),
        null => null,
        string text => JsonValue.Create(text),
        bool truth => JsonValue.Create(truth),
        sbyte or short or int or long or byte or ushort or uint => JsonValue.Create(Convert.ToInt64(value, System.Globalization.CultureInfo.InvariantCulture)),
        float or double => Number(Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture)),
        ReadOnlyMemory<char> text => JsonValue.Create(text.ToString()),
        byte[] or ReadOnlyMemory<byte> => JsonValue.Create("(bytes)"),
        IDictionary fields => new JsonObject(fields.Keys.Cast<string>().Select(key => KeyValuePair.Create(key, ToJson(fields[key], place, depth + 1)))),
        IEnumerable items => new JsonArray([.. items.Cast<object?>().Select(item => ToJson(item, place, depth + 1))]),
        _ => JsonValue.Create(value.ToString()),
    };

    private static JsonValue? Number(double value) => double.IsFinite(value) ? JsonValue.Create(value) : null;
}
