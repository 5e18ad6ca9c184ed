using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace Armor.Onnx.Files;

/// <summary>A file of external data beside a model, memory-mapped for reading.</summary>
internal sealed unsafe class ExternalFile : IDisposable
{
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;
    private readonly byte* _start;

    private ExternalFile(string path, long length, MemoryMappedFile? file, MemoryMappedViewAccessor? view)
    {
        (FullPath, Length, _file, _view) = (path, length, file, view);
        if (view is not null)
        {
            byte* pointer = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            _start = pointer + view.PointerOffset;
        }
    }

    public string FullPath { get; }

    public long Length { get; }

    /// <summary>Maps a file that <see cref="Locate"/> has found.</summary>
    public static ExternalFile Open(string path)
    {
        using SafeFileHandle handle = File.OpenHandle(path);
        long length = RandomAccess.GetLength(handle);
        if (length == 0)
        {
            return new ExternalFile(path, 0, null, null); // an empty file cannot be mapped
        }

        MemoryMappedFile file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        try
        {
            return new ExternalFile(path, length, file, file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The full path of an external location. A model is untrusted: its locations must be plain relative paths that stay inside its folder, on any system,
    /// with no link on the way.
    /// </summary>
    /// <param name="model">The model's path.</param>
    /// <param name="location">As the file has it, with forward slashes.</param>
    /// <param name="part">What refers to it, for messages.</param>
    /// <exception cref="OnnxException">The location leads out of the folder, through a link, or to nothing.</exception>
    public static string Locate(string model, string location, string part)
    {
        string[] pieces = location.Split('/');
        bool isPlain = location.Length > 0 && location.IndexOfAny(['\\', ':', '\0']) < 0
            && pieces.All(piece => piece.Length > 0 && piece is not "." and not "..");
        if (!isPlain)
        {
            throw new OnnxException(
                model, "external data must lie in the model's folder", part, "a relative path of plain names", location.Length > 0 ? location : "an empty one");
        }

        string path = Path.GetDirectoryName(Path.GetFullPath(model))!;
        foreach (string piece in pieces)
        {
            path = Path.Combine(path, piece);
            FileSystemInfo entry = Directory.Exists(path) ? new DirectoryInfo(path) : new FileInfo(path);
            if (entry.LinkTarget is { } target)
            {
                throw new OnnxException(
                    model, "external data behind a link is refused; copy the files into one folder", part, "a file of the model's folder", $"{location}, a link to {target}");
            }
        }

        return File.Exists(path)
            ? path
            : throw new OnnxException(model, "the file of external data is missing", part, "a file beside the model", Directory.Exists(path) ? "a folder" : $"no {location}");
    }

    /// <summary>Bytes in place; the span must not outlive this object.</summary>
    /// <param name="offset">The first byte.</param>
    /// <param name="count">How many; the caller has checked that they are there.</param>
    public ReadOnlySpan<byte> Bytes(long offset, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + count, Length);
        return new ReadOnlySpan<byte>(_start + offset, count);
    }

    public void Dispose()
    {
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
        }

        _file?.Dispose();
    }
}
