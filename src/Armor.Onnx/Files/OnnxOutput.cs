namespace Armor.Onnx.Files;

/// <summary>
/// An output on its way to its place: a model with its external data, or a whole folder. It is written under a temporary name beside its place and moved
/// when it is whole; a model never appears without its data.
/// </summary>
internal sealed class OnnxOutput : IDisposable
{
    private readonly string _path;
    private readonly string _temporary;
    private readonly bool _isFolder;

    private OnnxOutput(string path, bool isFolder)
    {
        _path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        _isFolder = isFolder;
        string folder = Path.GetDirectoryName(_path) ?? throw new OnnxException(path, "the output is a root", null, "a new file or folder", "a root");
        _temporary = Path.Combine(folder, $".{Path.GetFileName(_path)}.{Guid.NewGuid():N}.partial");
        OnnxModelWriter.Guard(path, () => Directory.CreateDirectory(_temporary));
    }

    /// <summary>Where the output lies as long as it is not in its place.</summary>
    public string TemporaryPath => _isFolder ? _temporary : Path.Combine(_temporary, Path.GetFileName(_path));

    /// <summary>Begins a model file.</summary>
    /// <exception cref="OnnxException">The file, or that of its external data, exists, or nothing can be written there.</exception>
    public static OnnxOutput File(string path)
    {
        RequireFree(path);
        return new OnnxOutput(path, isFolder: false);
    }

    /// <summary>Begins a folder.</summary>
    /// <exception cref="OnnxException">It exists and is not empty, or nothing can be written there.</exception>
    public static OnnxOutput Folder(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (System.IO.File.Exists(path) || (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any()))
        {
            throw new OnnxException(path, "the output exists already", null, "a new or empty folder", System.IO.File.Exists(path) ? "a file" : "files in it");
        }

        return new OnnxOutput(path, isFolder: true);
    }

    /// <summary>Makes sure that a model file would overwrite nothing.</summary>
    /// <exception cref="OnnxException">The file, or that of its external data, exists.</exception>
    public static void RequireFree(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        foreach (string file in new[] { path, path + OnnxModelWriter.DataEnding })
        {
            if (System.IO.File.Exists(file) || Directory.Exists(file))
            {
                throw new OnnxException(file, "the output exists already", null, "a new file", Directory.Exists(file) ? "a folder" : "a file");
            }
        }
    }

    /// <summary>Moves what was written to its place.</summary>
    /// <exception cref="OnnxException">There is something in the way by now.</exception>
    public void Commit() => OnnxModelWriter.Guard(_path, () =>
    {
        if (_isFolder)
        {
            if (Directory.Exists(_path))
            {
                Directory.Delete(_path); // fails if something has come to lie in it
            }

            Directory.Move(_temporary, _path);
            return;
        }

        if (System.IO.File.Exists(TemporaryPath + OnnxModelWriter.DataEnding))
        {
            System.IO.File.Move(TemporaryPath + OnnxModelWriter.DataEnding, _path + OnnxModelWriter.DataEnding);
        }

        System.IO.File.Move(TemporaryPath, _path);
    });

    /// <summary>Deletes what is temporary.</summary>
    public void Dispose()
    {
        try
        {
            if (Directory.Exists(_temporary))
            {
                Directory.Delete(_temporary, recursive: true);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A folder of a temporary name may remain.
        }
    }
}
