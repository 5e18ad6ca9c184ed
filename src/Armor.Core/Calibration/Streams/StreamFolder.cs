using System.Text.Json;
using System.Text.Json.Serialization;

namespace Armor.Core.Calibration.Streams;

/// <summary>
/// The folder in which a walk keeps its residual streams. <c>boundary.json</c> names the last layer boundary at which all of them are whole; it is
/// replaced in one step, and the files of the boundary before go only afterwards, so that a kill at any moment leaves one to resume from.
/// </summary>
/// <param name="path">The folder; made when needed.</param>
internal sealed class StreamFolder(string path)
{
    private const int CurrentVersion = 1;

    /// <summary>The file of a stream at the boundary before a layer.</summary>
    public string FileOf(string stream, int layer) => Path.Combine(path, FormattableString.Invariant($"{stream}.{layer:00000}.f32"));

    /// <summary>The last boundary; null where there is none that can be read.</summary>
    public StreamBoundary? Read()
    {
        try
        {
            StreamBoundary? boundary = JsonSerializer.Deserialize(File.ReadAllBytes(BoundaryFile), StreamJson.Default.StreamBoundary);
            return boundary is { Version: CurrentVersion, Hashes: not null, Layer: > 0 } ? boundary : null;
        }
        catch (Exception exception) when (exception is JsonException or IOException or UnauthorizedAccessException)
        {
            // A run can always begin at the first layer.
            return null;
        }
    }

    /// <summary>Makes a boundary the last one.</summary>
    /// <param name="layer">The layer that comes after it.</param>
    /// <param name="hashes">Of every stream, see <see cref="ActivationFile.Hashes"/>.</param>
    public void Write(int layer, Dictionary<string, string[]> hashes)
    {
        string temporary = BoundaryFile + ".tmp";
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None))
        {
            JsonSerializer.Serialize(stream, new StreamBoundary(CurrentVersion, layer, hashes), StreamJson.Default.StreamBoundary);
            stream.Flush(flushToDisk: true);
        }

        File.Move(temporary, BoundaryFile, overwrite: true);
    }

    /// <summary>Deletes everything.</summary>
    public void Clear()
    {
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    /// <summary>Deletes what does not belong to a boundary.</summary>
    public void ClearAllBut(int layer, IEnumerable<string> streams)
    {
        HashSet<string> kept = [BoundaryFile, .. streams.Select(stream => FileOf(stream, layer))];
        foreach (string file in Directory.GetFiles(path).Where(file => !kept.Contains(file)))
        {
            File.Delete(file);
        }
    }

    private string BoundaryFile => Path.Combine(path, "boundary.json");
}

/// <summary>The content of <c>boundary.json</c>.</summary>
/// <param name="Version">Of this layout.</param>
/// <param name="Layer">The layer that comes after the boundary.</param>
/// <param name="Hashes">The hash of every batch of every stream.</param>
internal sealed record StreamBoundary(int Version, int Layer, Dictionary<string, string[]> Hashes);

/// <summary>The serialiser of <see cref="StreamBoundary"/>.</summary>
[JsonSerializable(typeof(StreamBoundary))]
internal sealed partial class StreamJson : JsonSerializerContext;
