using System.Buffers;
using System.Collections.Frozen;
using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// A safetensors file, memory-mapped: opening it reads the header only. Spans are views of the mapping; values and copies are read from the file,
/// so that reading a large file through leaves nothing of it in the process's memory. Safe for reading from several threads.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private const int Piece = 1 << 20;

    private readonly SafeFileHandle _file;
    private readonly long _dataStart;
    private readonly MemoryMappedFile _mapping;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeMemoryMappedViewHandle _handle;
    private FrozenDictionary<string, SafetensorsHeader.Entry> _entries;
    private readonly byte* _data;
    private bool _disposed;

    private SafetensorsFile(
        string path, SafeFileHandle file, MemoryMappedFile mapping, MemoryMappedViewAccessor view, SafetensorsHeader header, long dataStart)
    {
        Path = path;
        _file = file;
        _dataStart = dataStart;
        _mapping = mapping;
        _view = view;
        _handle = view.SafeMemoryMappedViewHandle;
        Metadata = header.Metadata;
        TensorsInFileOrder = [.. header.Entries.Select(entry => entry.Tensor)];
        Tensors = TensorsInFileOrder.ToFrozenDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        _entries = header.Entries.ToFrozenDictionary(entry => entry.Tensor.Name, StringComparer.Ordinal);
        byte* pointer = null;
        _handle.AcquirePointer(ref pointer);
        _data = pointer + view.PointerOffset + dataStart;
    }

    /// <summary>The file's path as it was given.</summary>
    public string Path { get; }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, TensorDescription> Tensors { get; private set; }

    /// <summary>The tensors in the order of their data.</summary>
    public IReadOnlyList<TensorDescription> TensorsInFileOrder { get; private set; }

    /// <summary>The <c>__metadata__</c> of the header; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a file and checks its header against every rule of the format.</summary>
    /// <exception cref="CheckpointException">The file is missing, cannot be read or breaks a rule.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!BitConverter.IsLittleEndian)
        {
            throw new PlatformNotSupportedException("safetensors files are little-endian and mapped as they are; this processor is big-endian.");
        }

        FileStream? stream = null;
        MemoryMappedFile? mapping = null;
        MemoryMappedViewAccessor? view = null;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1);
            Span<byte> prefix = stackalloc byte[SafetensorsHeader.PrefixLength];
            var fileLength = stream.Length;
            stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false);
            var headerLength = SafetensorsHeader.ParseLength(path, prefix, fileLength);
            var json = new byte[headerLength];
            stream.ReadExactly(json);
            var dataStart = SafetensorsHeader.PrefixLength + (long)headerLength;
            var header = SafetensorsHeader.Parse(path, json, fileLength - dataStart);
            mapping = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            view = mapping.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            return new SafetensorsFile(path, stream.SafeFileHandle, mapping, view, header, dataStart);
        }
        catch (Exception exception)
        {
            view?.Dispose();
            mapping?.Dispose();
            stream?.Dispose();
            if (exception is not CheckpointException and (IOException or UnauthorizedAccessException))
            {
                throw new CheckpointException(
                    path, $"the file cannot be read: {exception.Message.TrimEnd('.')}", innerException: exception);
            }

            throw;
        }
    }

    /// <summary>The description of a tensor.</summary>
    /// <exception cref="CheckpointException">The file has no tensor of that name.</exception>
    public TensorDescription GetTensor(string name) => Find(name).Tensor;

    /// <summary>The stored bytes of a tensor, in place; the span must not outlive this object.</summary>
    /// <exception cref="CheckpointException">The file has no tensor of that name, or it has more than 2 GiB: read it in ranges.</exception>
    public ReadOnlySpan<byte> GetBytes(string name)
    {
        var entry = Find(name);
        if (entry.End - entry.Begin > int.MaxValue)
        {
            throw new CheckpointException(
                Path, "the tensor is too large for one span; read it in ranges", name, $"at most {int.MaxValue} bytes", $"{entry.End - entry.Begin} bytes");
        }

        return new ReadOnlySpan<byte>(_data + entry.Begin, (int)(entry.End - entry.Begin));
    }

    /// <summary>A range of the stored bytes of a tensor, in place; the span must not outlive this object.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="offset">The first byte, counted from the tensor's start.</param>
    /// <param name="count">The number of bytes.</param>
    /// <exception cref="CheckpointException">The file has no tensor of that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    public ReadOnlySpan<byte> GetBytes(string name, long offset, int count)
    {
        var entry = Find(name);
        CheckRange(offset, count, entry.End - entry.Begin, nameof(offset));
        return new ReadOnlySpan<byte>(_data + entry.Begin + offset, count);
    }

    /// <summary>Reads a floating-point tensor, converted to float32.</summary>
    /// <param name="name">A tensor of type F32, F16, BF16 or F64.</param>
    /// <returns>The elements, row-major.</returns>
    /// <exception cref="CheckpointException">The file has no such tensor, it is of another type, or it has more elements than an array can hold.</exception>
    public float[] ReadFloat32(string name)
    {
        var tensor = GetTensor(name);
        if (tensor.ElementCount > Array.MaxLength)
        {
            throw new CheckpointException(
                Path, "the tensor is too large for one array; read it in ranges", name, $"at most {Array.MaxLength} elements", $"{tensor.ElementCount} elements");
        }

        RequireFloat(tensor);
        var values = new float[tensor.ElementCount];
        ReadFloat32(name, 0, values);
        return values;
    }

    /// <summary>Reads a whole floating-point tensor, converted to float32.</summary>
    /// <param name="name">A tensor of type F32, F16, BF16 or F64.</param>
    /// <param name="destination">As long as the tensor's element count.</param>
    /// <exception cref="CheckpointException">The file has no such tensor, or it is of another type.</exception>
    /// <exception cref="ArgumentException">The destination has another length.</exception>
    public void ReadFloat32(string name, Span<float> destination)
    {
        var tensor = GetTensor(name);
        if (destination.Length != tensor.ElementCount)
        {
            throw new ArgumentException(
                $"Tensor '{name}' has {tensor.ElementCount} elements, the destination {destination.Length}.", nameof(destination));
        }

        ReadFloat32(name, 0, destination);
    }

    /// <summary>Reads a range of a floating-point tensor, converted to float32.</summary>
    /// <param name="name">A tensor of type F32, F16, BF16 or F64.</param>
    /// <param name="firstElement">The first element, counted row-major.</param>
    /// <param name="destination">Filled whole.</param>
    /// <exception cref="CheckpointException">The file has no such tensor, or it is of another type.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    public void ReadFloat32(string name, long firstElement, Span<float> destination)
    {
        var entry = Find(name);
        RequireFloat(entry.Tensor);
        CheckRange(firstElement, destination.Length, entry.Tensor.ElementCount, nameof(firstElement));
        int size = entry.Tensor.ElementType.ByteSize();
        byte[] buffer = ArrayPool<byte>.Shared.Rent(Piece);
        try
        {
            for (var start = 0; start < destination.Length; start += Piece / size)
            {
                var count = Math.Min(Piece / size, destination.Length - start);
                var bytes = buffer.AsSpan(0, count * size);
                ReadBytes(name, entry.Begin + ((firstElement + start) * size), bytes);
                FloatConversion.ToFloat32(entry.Tensor.ElementType, bytes, destination.Slice(start, count));
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Reads a range of the stored bytes of a tensor.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="offset">The first byte, counted from the tensor's start.</param>
    /// <param name="destination">Filled whole.</param>
    internal void CopyBytes(string name, long offset, Span<byte> destination)
    {
        var entry = Find(name);
        CheckRange(offset, destination.Length, entry.End - entry.Begin, nameof(offset));
        ReadBytes(name, entry.Begin + offset, destination);
    }

    /// <summary>Shows the rows of a matrix as several tensors in its place. Only before the file is given to others.</summary>
    /// <param name="name">The matrix.</param>
    /// <param name="parts">Names and numbers of rows, in order.</param>
    /// <exception cref="CheckpointException">The tensor has other rows in all, or is no matrix.</exception>
    internal void SplitRows(string name, IReadOnlyList<(string Name, long Rows)> parts)
    {
        var whole = Find(name);
        var rows = parts.Sum(part => part.Rows);
        if (whole.Tensor.Shape.Count != 2 || whole.Tensor.Shape[0] != rows)
        {
            throw new CheckpointException(
                Path, "the shape does not fit config.json", name, $"a matrix of {rows} rows, those of {string.Join(", ", parts.Select(part => part.Name))}",
                whole.Tensor.ShapeText);
        }

        var begin = whole.Begin;
        var entries = new List<SafetensorsHeader.Entry>();
        foreach (var (part, count) in parts)
        {
            var tensor = new TensorDescription(part, whole.Tensor.ElementType, [count, whole.Tensor.Shape[1]]);
            entries.Add(new SafetensorsHeader.Entry(tensor, begin, begin += tensor.ByteCount));
        }

        TensorsInFileOrder = [.. TensorsInFileOrder.SelectMany(tensor => tensor.Name == name ? entries.Select(entry => entry.Tensor) : [tensor])];
        Tensors = TensorsInFileOrder.ToFrozenDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        _entries = _entries.Values.Where(entry => entry.Tensor.Name != name).Concat(entries).ToFrozenDictionary(entry => entry.Tensor.Name, StringComparer.Ordinal);
    }

    /// <summary>Unmaps the file; spans taken from it become invalid.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _handle.ReleasePointer();
            _view.Dispose();
            _mapping.Dispose();
        }
    }

    private static void CheckRange(long offset, int count, long length, string parameter)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (offset < 0 || offset > length - count)
        {
            throw new ArgumentOutOfRangeException(parameter, offset, $"The range of {count} from {offset} is not inside the tensor's {length}.");
        }
    }

    private void ReadBytes(string name, long position, Span<byte> destination)
    {
        for (var read = 0; read < destination.Length;)
        {
            int count;
            try
            {
                count = RandomAccess.Read(_file, destination[read..], _dataStart + position + read);
            }
            catch (IOException exception)
            {
                throw new CheckpointException(Path, $"the file cannot be read: {exception.Message.TrimEnd('.')}", name, innerException: exception);
            }

            if (count == 0)
            {
                throw new CheckpointException(Path, "the file has become shorter since it was opened", name, $"{destination.Length - read} more bytes", "its end");
            }

            read += count;
        }
    }

    private SafetensorsHeader.Entry Find(string name)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(name);
        return _entries.TryGetValue(name, out var entry)
            ? entry
            : throw new CheckpointException(Path, "the tensor is missing", name, "a tensor of this name", $"{_entries.Count} others");
    }

    private void RequireFloat(TensorDescription tensor)
    {
        if (!tensor.ElementType.ConvertsToFloat32())
        {
            throw new CheckpointException(
                Path, "the tensor is not of a type that reads as float32", tensor.Name, "F32, F16, BF16 or F64", tensor.ElementType.SafetensorsName());
        }
    }
}
