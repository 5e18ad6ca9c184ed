using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Pruning.Resuming;

/// <summary>Small JSON files of a workspace, whole or not there.</summary>
internal static class JsonFile
{
    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="problem">What is wrong where it is not JSON of the type.</param>
    /// <param name="type">Its serialiser.</param>
    /// <exception cref="CheckpointException">Not JSON of the type.</exception>
    public static T? Read<T>(string path, string problem, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), type);
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(path, problem, null, "JSON", exception.Message, exception);
        }
    }

    /// <summary>Writes a file under another name, then renames it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="value">Its content.</param>
    /// <param name="type">Its serialiser.</param>
    public static void Write<T>(string path, T value, JsonTypeInfo<T> type)
    {
        string temporary = path + ".tmp";
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            JsonSerializer.Serialize(stream, value, type);
            stream.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
    }
}
