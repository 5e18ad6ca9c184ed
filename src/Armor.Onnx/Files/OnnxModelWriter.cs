using System.Globalization;
using Armor.Onnx.Proto;
using Google.Protobuf;

namespace Armor.Onnx.Files;

/// <summary>
/// Writes a model to a file, with external data in one file next to it where the message would be too large or it is wished for. Large tensors can be
/// written as they are made, so that they need not stay in memory.
/// </summary>
/// <param name="path">The file, in a folder that is temporary: what fails leaves pieces.</param>
/// <param name="external">Whether large tensors go to a file of their own.</param>
internal sealed class OnnxModelWriter(string path, bool external) : IDisposable
{
    /// <summary>Beyond this much data a model gets external data by itself: protocol buffers end at 2 GiB.</summary>
    public const long LargestInline = 1_900_000_000;

    /// <summary>What follows the model's name in that of its external data.</summary>
    public const string DataEnding = ".data";

    // Below this a tensor stays in the message, as shapes and scales must for other tools to read them.
    private const int SmallestExternal = 1024;

    // Where a large tensor begins, so that ONNX Runtime can map it.
    private const int PageSize = 4096;
    private const int SmallestPaged = 1 << 16;
    private const int Alignment = 64;
    private const int Piece = 1 << 24;

    private readonly HashSet<TensorProto> _written = new(ReferenceEqualityComparer.Instance);
    private FileStream? _data;

    /// <summary>Writes a new tensor's data at once, and lets go of it, where it goes to the file of external data.</summary>
    public void Take(TensorProto tensor)
    {
        if (external && tensor.RawData.Length >= SmallestExternal)
        {
            Refer(tensor, tensor.RawData.Length, (first, count) => tensor.RawData.Span.Slice((int)first, count));
        }
    }

    /// <summary>Writes the model. Its tensors' data is moved out of the message where it goes to the file of external data.</summary>
    /// <param name="source">Holds the model and, for tensors that are external already, their data.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="OnnxException">External data of the source is missing or of a wrong length, or the file cannot be written.</exception>
    public void Write(OnnxFile source, CancellationToken cancellationToken) => Guard(path, () =>
    {
        TensorProto[] tensors = [.. TensorVisitor.Of(source.Model).Where(tensor => !_written.Contains(tensor))];
        long size = tensors.Sum(tensor => (long)tensor.CalculateSize() + (IsExternal(tensor) ? TensorReader.Locate(source, tensor).Length : 0));
        bool moves = external || size > LargestInline;
        foreach (TensorProto tensor in tensors)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TensorReader.ExternalRange range = IsExternal(tensor) ? TensorReader.Locate(source, tensor) : default;
            if (moves && range.File is not null)
            {
                Refer(tensor, range.Length, (first, count) => range.File.Bytes(range.Offset + first, count));
            }
            else if (moves && tensor.RawData.Length >= SmallestExternal)
            {
                Refer(tensor, tensor.RawData.Length, (first, count) => tensor.RawData.Span.Slice((int)first, count));
            }
            else if (range.File is not null)
            {
                tensor.RawData = UnsafeByteOperations.UnsafeWrap(range.File.Bytes(range.Offset, checked((int)range.Length)).ToArray());
                tensor.ExternalData.Clear();
                tensor.ClearDataLocation();
            }
        }

        _data?.Flush(flushToDisk: true);
        using FileStream model = File.Create(path);
        source.Model.WriteTo(model);
        model.Flush(flushToDisk: true);
    });

    public void Dispose() => _data?.Dispose();

    /// <summary>The bytes of a message, which may be more than one can have.</summary>
    public static long SizeOf(ModelProto model) => TensorVisitor.Of(model).Sum(tensor => (long)tensor.CalculateSize());

    /// <summary>Does file work; its errors name the file.</summary>
    public static void Guard(string path, Action work)
    {
        try
        {
            work();
        }
        catch (Exception exception) when (exception is (IOException or UnauthorizedAccessException) and not OnnxException)
        {
            throw new OnnxException(path, $"cannot be written: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }

    private static bool IsExternal(TensorProto tensor) => tensor.DataLocation == TensorProto.Types.DataLocation.External;

    private delegate ReadOnlySpan<byte> ReadBytes(long first, int count);

    private void Refer(TensorProto tensor, long length, ReadBytes read)
    {
        Guard(path, () =>
        {
            _data ??= File.Create(path + DataEnding);
            int step = length >= SmallestPaged ? PageSize : Alignment;
            _data.Write(new byte[(step - (_data.Position % step)) % step]);
        });
        long offset = _data!.Position;
        for (long first = 0; first < length; first += Piece)
        {
            long start = first;
            Guard(path, () => _data.Write(read(start, (int)Math.Min(Piece, length - start))));
        }

        tensor.ClearRawData();
        tensor.ExternalData.Clear();
        tensor.DataLocation = TensorProto.Types.DataLocation.External;
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = Path.GetFileName(path) + DataEnding });
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = offset.ToString(CultureInfo.InvariantCulture) });
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = length.ToString(CultureInfo.InvariantCulture) });
        _written.Add(tensor);
    }
}
