using System.Buffers;
using System.Runtime.InteropServices;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// The body of a safetensors file, appended tensor by tensor behind room kept for the header, which is known only at the end. Writes to a
/// temporary name; <see cref="Commit"/> renames. Keeps the CRC-32C of each tensor.
/// </summary>
internal sealed class SafetensorsStream : IDisposable
{
    private const int Piece = 1 << 14;
    private const int CopyPiece = 1 << 20;

    private readonly int _headerLength;
    private readonly string _finalPath;
    private readonly string _temporaryPath;
    private readonly List<TensorDescription> _tensors = [];
    private readonly List<uint> _checksums = [];
    private readonly byte[] _buffer = new byte[Piece * sizeof(double)];
    private readonly Stream _stream;
    private uint _checksum = Crc32C.Start;
    private bool _committed;

    /// <param name="path">The final name.</param>
    /// <param name="headerLength">Bytes to keep for the header, its eight bytes of length included.</param>
    /// <param name="open">Opens the temporary file.</param>
    /// <param name="shownPath">The path that errors name, where the folder of <paramref name="path"/> is itself temporary.</param>
    public SafetensorsStream(string path, int headerLength, Func<string, Stream> open, string? shownPath = null)
    {
        Path = shownPath ?? path;
        _finalPath = path;
        _headerLength = headerLength;
        _temporaryPath = path + ".partial";
        _stream = Guard(() => open(_temporaryPath));
        try
        {
            Guard(() => _stream.Position = headerLength);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The path that errors name.</summary>
    public string Path { get; }

    /// <summary>The tensor being written, or the last one.</summary>
    public TensorDescription? Current => _tensors.Count > 0 ? _tensors[^1] : null;

    /// <summary>The bytes that the current tensor still lacks.</summary>
    public long Remaining { get; private set; }

    /// <summary>The whole tensors so far with their checksums.</summary>
    public IEnumerable<(TensorDescription Tensor, uint Checksum)> Written => _tensors.Zip(_checksums);

    public static Stream OpenFile(string path) => new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.None, bufferSize: 1 << 20);

    /// <summary>Begins the next tensor.</summary>
    public void Begin(TensorDescription tensor)
    {
        if (Remaining > 0)
        {
            throw new InvalidOperationException($"Tensor '{Current?.Name}' of {Path} lacks {Remaining} bytes.");
        }

        _tensors.Add(tensor);
        Remaining = tensor.ByteCount;
        _checksum = Crc32C.Start;
        if (Remaining == 0)
        {
            _checksums.Add(Crc32C.Finish(_checksum));
        }
    }

    /// <summary>Appends stored bytes to the current tensor.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > Remaining)
        {
            throw new InvalidOperationException($"Tensor '{Current?.Name}' of {Path} lacks {Remaining} bytes, not {bytes.Length}.");
        }

        try
        {
            _stream.Write(bytes);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw Failure(exception);
        }

        if (bytes.Length > 0)
        {
            _checksum = Crc32C.Update(_checksum, bytes);
            Remaining -= bytes.Length;
            if (Remaining == 0)
            {
                _checksums.Add(Crc32C.Finish(_checksum));
            }
        }
    }

    /// <summary>Appends a tensor of a folder unchanged.</summary>
    public void AppendCopy(CheckpointFolder source, TensorDescription tensor)
    {
        var file = source.FileOf(tensor.Name);
        var buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(CopyPiece, tensor.ByteCount));
        try
        {
            for (long start = 0; start < tensor.ByteCount; start += CopyPiece)
            {
                var piece = buffer.AsSpan(0, (int)Math.Min(CopyPiece, tensor.ByteCount - start));
                file.CopyBytes(tensor.Name, start, piece);
                Append(piece);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Appends values to the current tensor, rounded to its type.</summary>
    public void AppendFloat32(ReadOnlySpan<float> values)
    {
        var tensor = Current ?? throw new InvalidOperationException("No tensor has begun.");
        var type = tensor.ElementType;
        if (!type.ConvertsToFloat32())
        {
            throw new CheckpointException(
                Path, "float32 values cannot be written as the declared type", tensor.Name, "F32, F16, BF16 or F64", type.SafetensorsName());
        }

        for (var start = 0; start < values.Length; start += Piece)
        {
            var piece = values.Slice(start, Math.Min(Piece, values.Length - start));
            var bytes = _buffer.AsSpan(0, piece.Length * type.ByteSize());
            FloatConversion.FromFloat32(type, piece, bytes);
            if (type is TensorElementType.Float16 or TensorElementType.BFloat16)
            {
                CheckRange(tensor, piece, MemoryMarshal.Cast<byte, ushort>(bytes));
            }

            Append(bytes);
        }
    }

    /// <summary>Writes the header, flushes to the disk and renames.</summary>
    public void Commit(IEnumerable<KeyValuePair<string, string>> metadata)
    {
        if (Remaining > 0)
        {
            throw new InvalidOperationException($"Tensor '{Current?.Name}' of {Path} lacks {Remaining} bytes.");
        }

        var header = SafetensorsHeader.Format(_tensors, metadata);
        Guard(() =>
        {
            if (GivesRoomBack(_headerLength, header.Length, _stream.Length))
            {
                MoveBody(header.Length);
            }
            else
            {
                header = SafetensorsHeader.Format(_tensors, metadata, _headerLength);
            }

            _stream.Position = 0;
            _stream.Write(header);
            if (_stream is FileStream file)
            {
                file.Flush(flushToDisk: true);
            }

            _stream.Dispose();
            File.Move(_temporaryPath, _finalPath, overwrite: true);
        });
        _committed = true;
    }

    /// <summary>The length of a finished file.</summary>
    /// <param name="room">Bytes kept for the header.</param>
    /// <param name="header">Bytes that the header needs.</param>
    /// <param name="data">Bytes of the tensors.</param>
    public static long FileLength(int room, int header, long data) => data + (GivesRoomBack(room, header, data > 0 ? room + data : 0) ? header : room);

    public void Dispose()
    {
        if (_committed)
        {
            return;
        }

        try
        {
            _stream.Dispose();
        }
        catch (IOException)
        {
            // The buffered rest does not fit the disk; the file is deleted anyway.
        }

        try
        {
            File.Delete(_temporaryPath);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A temporary name may remain; the final one never holds part of a file.
        }
    }

    // Room that the header does not need is given back where it counts, else padded with spaces.
    private static bool GivesRoomBack(int room, int header, long length) => (room - header) * 4096L > length;

    private void MoveBody(int headerLength)
    {
        var buffer = new byte[1 << 20];
        var length = _stream.Length;
        for (long start = _headerLength; start < length; start += buffer.Length)
        {
            var piece = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - start));
            _stream.Position = start;
            _stream.ReadExactly(piece);
            _stream.Position = start - _headerLength + headerLength;
            _stream.Write(piece);
        }

        _stream.SetLength(Math.Max(headerLength, length - _headerLength + headerLength));
    }

    private void CheckRange(TensorDescription tensor, ReadOnlySpan<float> values, ReadOnlySpan<ushort> stored)
    {
        var infinity = tensor.ElementType == TensorElementType.Float16 ? 0x7C00 : 0x7F80;
        for (var i = 0; i < values.Length; i++)
        {
            if ((stored[i] & 0x7FFF) == infinity && float.IsFinite(values[i]))
            {
                throw new CheckpointException(
                    Path,
                    $"a value exceeds the range of {tensor.ElementType.SafetensorsName()}",
                    tensor.Name,
                    tensor.ElementType == TensorElementType.Float16 ? "magnitudes up to 65504" : "magnitudes up to 3.39e38",
                    values[i].ToString("G9", System.Globalization.CultureInfo.InvariantCulture));
            }
        }
    }

    private void Guard(Action action) => Guard(() =>
    {
        action();
        return true;
    });

    private T Guard<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception exception) when (exception is not CheckpointException and (IOException or UnauthorizedAccessException))
        {
            throw Failure(exception);
        }
    }

    private CheckpointException Failure(Exception exception)
        => new(Path, $"the file cannot be written: {Reason(exception)}", innerException: exception);

    /// <summary>The system's message without the temporary path that it ends with.</summary>
    private string Reason(Exception exception)
        => exception.Message.Replace($"'{_temporaryPath}'", "", StringComparison.Ordinal).TrimEnd(' ', ':', '.');
}
