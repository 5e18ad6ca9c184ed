using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// A model folder in the making: a hidden folder beside the final one, which takes the final name at <see cref="Commit"/>. Takes over what
/// goes with the weights of a source folder.
/// </summary>
internal sealed class CheckpointFolderWriter : IDisposable
{
    private const string ConfigurationName = "config.json";

    // Weights in any layout: a copied set would contradict the new one, and is large.
    private static readonly string[] WeightEndings =
        [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".partial"];

    private readonly string _source;
    private readonly string _output;
    private bool _committed;

    private CheckpointFolderWriter(string source, string output, string temporary)
    {
        _source = source;
        _output = output;
        TemporaryFolder = temporary;
    }

    /// <summary>Where the files are written.</summary>
    public string TemporaryFolder { get; }

    /// <summary>Checks that the output folder is absent or empty before any work, and makes the temporary one.</summary>
    public static CheckpointFolderWriter Create(string source, string output)
    {
        ArgumentException.ThrowIfNullOrEmpty(output);
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(output));
        if (File.Exists(full))
        {
            throw new CheckpointException(output, "the output folder is a file", null, "a new or empty folder", "a file");
        }

        if (Directory.Exists(full) && Directory.EnumerateFileSystemEntries(full).FirstOrDefault() is { } entry)
        {
            throw new CheckpointException(output, "the output folder is not empty", null, "a new or empty folder", Path.GetFileName(entry));
        }

        var parent = Path.GetDirectoryName(full) ?? throw new CheckpointException(output, "the output folder is a root", null, "a new or empty folder", "a root");
        var temporary = Path.Combine(parent, $".{Path.GetFileName(full)}.partial");
        Guard(output, () =>
        {
            if (Directory.Exists(temporary))
            {
                // Left by a run that was killed.
                Directory.Delete(temporary, recursive: true);
            }

            Directory.CreateDirectory(temporary);
        });
        return new CheckpointFolderWriter(source, full, temporary);
    }

    /// <summary>The source's <c>config.json</c> as a tree.</summary>
    public static JsonObject ReadConfiguration(string folder)
    {
        var path = Path.Combine(folder, ConfigurationName);
        var bytes = Json.ReadFile(path);

        // Checks that it is an object of valid text; the tree itself is lazy.
        Json.ReadObject(path, "the configuration", bytes, root => root.GetRawText());
        try
        {
            return JsonNode.Parse(bytes, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false })!.AsObject();
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(path, $"the configuration is not valid JSON: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }

    /// <summary>Writes <c>config.json</c>; equal trees give equal bytes.</summary>
    public void WriteConfiguration(JsonObject configuration) => WriteJson(ConfigurationName, configuration);

    /// <summary>Gives a file of the folder another name.</summary>
    public void Rename(string from, string to) =>
        Guard(_output, () => File.Move(Path.Combine(TemporaryFolder, from), Path.Combine(TemporaryFolder, to)));

    /// <summary>Writes a JSON file; equal trees give equal bytes.</summary>
    public void WriteJson(string name, JsonObject tree)
    {
        Guard(_output, () =>
        {
            using var file = new FileStream(Path.Combine(TemporaryFolder, name), FileMode.CreateNew, FileAccess.Write);
            file.Write(JsonBytes(tree));
            file.Flush(flushToDisk: true);
        });
    }

    /// <summary>The content of a JSON file of the folder.</summary>
    public static byte[] JsonBytes(JsonObject tree)
    {
        var options = new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, options))
        {
            tree.WriteTo(writer);
        }

        buffer.WriteByte((byte)'\n');
        return buffer.ToArray();
    }

    /// <summary>Copies tokenizer, generation settings, licence and the like: every file of the source folder but weights and <c>config.json</c>.</summary>
    public void CopyCompanions()
    {
        Guard(_output, () =>
        {
            foreach (var path in Companions(_source))
            {
                // Not File.Copy: it would take over a read-only mark.
                using var from = new FileStream(path, FileMode.Open, FileAccess.Read);
                using var to = new FileStream(Path.Combine(TemporaryFolder, Path.GetFileName(path)), FileMode.CreateNew, FileAccess.Write);
                from.CopyTo(to);
            }
        });
    }

    /// <summary>The files that <see cref="CopyCompanions"/> copies.</summary>
    public static IEnumerable<string> Companions(string source) => Directory.EnumerateFiles(source).Order(StringComparer.Ordinal).Where(path =>
    {
        var name = Path.GetFileName(path);
        return name != ConfigurationName && name[0] != '.' && !WeightEndings.Any(ending => name.EndsWith(ending, StringComparison.OrdinalIgnoreCase));
    });

    /// <summary>Gives the folder its final name.</summary>
    public void Commit()
    {
        Guard(_output, () =>
        {
            if (Directory.Exists(_output))
            {
                // Fails if something has come to lie in it since.
                Directory.Delete(_output);
            }

            Directory.Move(TemporaryFolder, _output);
        });
        _committed = true;
    }

    /// <summary>Deletes the folder if it was not committed.</summary>
    public void Dispose()
    {
        if (_committed)
        {
            return;
        }

        try
        {
            Directory.Delete(TemporaryFolder, recursive: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A temporary name may remain; the next run to the same folder deletes it.
        }
    }

    private static void Guard(string output, Action action)
    {
        try
        {
            action();
        }
        catch (Exception exception) when (exception is not CheckpointException and (IOException or UnauthorizedAccessException))
        {
            throw new CheckpointException(output, $"the folder cannot be written: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }
}
