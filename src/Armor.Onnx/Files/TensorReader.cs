using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Files;

/// <summary>Reads the values of tensors, wherever the file keeps them.</summary>
internal static class TensorReader
{
    /// <summary>Where a tensor's stored bytes lie in a file of external data.</summary>
    public readonly record struct ExternalRange(ExternalFile File, long Offset, long Length);

    /// <summary>A floating-point or integer tensor as float32, row-major.</summary>
    /// <exception cref="OnnxException">Its data is missing, of a wrong length, of another type, or beyond what an array holds.</exception>
    public static float[] ReadFloats(OnnxFile file, TensorProto tensor)
    {
        int count = CheckedCount(file, tensor);
        var values = new float[count];
        switch ((DataType)tensor.DataType)
        {
            case DataType.Float when Stored(tensor) == 0 && tensor.FloatData.Count > 0:
                RequireCount(file, tensor, tensor.FloatData.Count, count);
                tensor.FloatData.CopyTo(values, 0);
                break;
            case DataType.Float16 or DataType.Bfloat16 when Stored(tensor) == 0 && tensor.Int32Data.Count > 0:
                RequireCount(file, tensor, tensor.Int32Data.Count, count);
                Convert(tensor.DataType, MemoryMarshal.AsBytes<ushort>([.. tensor.Int32Data.Select(bits => unchecked((ushort)bits))]), values);
                break;
            case DataType.Int8 or DataType.Uint8 when Stored(tensor) == 0 && tensor.Int32Data.Count > 0:
                RequireCount(file, tensor, tensor.Int32Data.Count, count);
                for (int i = 0; i < count; i++)
                {
                    values[i] = tensor.Int32Data[i];
                }

                break;
            case DataType.Float or DataType.Float16 or DataType.Bfloat16 or DataType.Int8 or DataType.Uint8:
                ReadStored(file, tensor, values);
                break;
            default:
                throw new OnnxException(
                    file.FilePath, "the tensor's type holds no weights", ElementTypes.Describe(tensor), "float, float16, bfloat16, int8 or uint8", ElementTypes.Name(tensor.DataType));
        }

        return values;
    }

    /// <summary>The shape of a tensor, checked: no negative size, no more elements than an array holds.</summary>
    public static int CheckedCount(OnnxFile file, TensorProto tensor)
    {
        if (tensor.Dims.Any(size => size < 0))
        {
            throw new OnnxException(file.FilePath, "a size is negative", ElementTypes.Describe(tensor), "sizes of at least 0", ElementTypes.Shape(tensor.Dims));
        }

        try
        {
            long count = ElementTypes.Count(tensor.Dims);
            if (count <= Array.MaxLength)
            {
                return (int)count;
            }
        }
        catch (OverflowException)
        {
            // told below
        }

        throw new OnnxException(file.FilePath, "the tensor is too large", ElementTypes.Describe(tensor), $"at most {Array.MaxLength} elements", ElementTypes.Shape(tensor.Dims));
    }

    /// <summary>Where external data lies; checked against the file and the tensor's shape.</summary>
    /// <exception cref="OnnxException">The location is refused, or the range is not inside the file or of a wrong length.</exception>
    public static ExternalRange Locate(OnnxFile file, TensorProto tensor)
    {
        string part = ElementTypes.Describe(tensor);
        string? Entry(string key) => tensor.ExternalData.LastOrDefault(entry => entry.Key == key)?.Value;
        ExternalFile external = file.External(
            Entry("location") ?? throw new OnnxException(file.FilePath, "external data without a location", part, "an entry \"location\"", "none"), part);
        long offset = Number("offset") ?? 0;
        long length = Number("length") ?? (external.Length - offset);
        if (offset < 0 || length < 0 || offset > external.Length || length > external.Length - offset)
        {
            throw new OnnxException(
                external.FullPath, "the file of external data is too short", part, $"{length} bytes from {offset} on", $"a file of {external.Length}");
        }

        if (ElementTypes.ByteSize(tensor.DataType) is { } size && length != CheckedCount(file, tensor) * (long)size)
        {
            throw new OnnxException(
                external.FullPath,
                "external data of a wrong length",
                part,
                $"{CheckedCount(file, tensor) * (long)size} bytes for {ElementTypes.Name(tensor.DataType)} {ElementTypes.Shape(tensor.Dims)}",
                $"{length}");
        }

        return new ExternalRange(external, offset, length);

        long? Number(string key) => Entry(key) is not { } text
            ? null
            : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long value)
                ? value
                : throw new OnnxException(file.FilePath, $"the {key} of external data is not a number", part, "a whole number", text);
    }

    /// <summary>A small tensor of int64 or int32, such as a shape or permutation.</summary>
    public static long[]? ReadIntegers(OnnxFile file, TensorProto tensor)
    {
        int count = CheckedCount(file, tensor);
        if (count > 1 << 16 || tensor.DataLocation == TensorProto.Types.DataLocation.External)
        {
            return null;
        }

        return (DataType)tensor.DataType switch
        {
            DataType.Int64 when tensor.Int64Data.Count == count && count > 0 => [.. tensor.Int64Data],
            DataType.Int32 when tensor.Int32Data.Count == count && count > 0 => [.. tensor.Int32Data.Select(value => (long)value)],
            DataType.Int64 when tensor.RawData.Length == count * 8L =>
                [.. Enumerable.Range(0, count).Select(i => BinaryPrimitives.ReadInt64LittleEndian(tensor.RawData.Span[(i * 8)..]))],
            DataType.Int32 when tensor.RawData.Length == count * 4L =>
                [.. Enumerable.Range(0, count).Select(i => (long)BinaryPrimitives.ReadInt32LittleEndian(tensor.RawData.Span[(i * 4)..]))],
            _ => null,
        };
    }

    private static int Stored(TensorProto tensor) =>
        tensor.DataLocation == TensorProto.Types.DataLocation.External ? int.MaxValue : tensor.RawData.Length;

    private static void ReadStored(OnnxFile file, TensorProto tensor, Span<float> values)
    {
        const int Piece = 1 << 22;
        int size = ElementTypes.ByteSize(tensor.DataType)!.Value;
        if (tensor.DataLocation != TensorProto.Types.DataLocation.External)
        {
            RequireCount(file, tensor, tensor.RawData.Length / (double)size, values.Length);
            Convert(tensor.DataType, tensor.RawData.Span, values);
            return;
        }

        ExternalRange range = Locate(file, tensor);
        for (int first = 0; first < values.Length; first += Piece)
        {
            int count = Math.Min(Piece, values.Length - first);
            Convert(tensor.DataType, range.File.Bytes(range.Offset + ((long)first * size), count * size), values.Slice(first, count));
        }
    }

    private static void Convert(int dataType, ReadOnlySpan<byte> bytes, Span<float> values)
    {
        if (ElementTypes.Floating(dataType) is { } type)
        {
            FloatBytes.ToFloat32(type, bytes, values);
            return;
        }

        for (int i = 0; i < values.Length; i++)
        {
            values[i] = dataType == (int)DataType.Int8 ? (sbyte)bytes[i] : bytes[i];
        }
    }

    private static void RequireCount(OnnxFile file, TensorProto tensor, double found, int expected)
    {
        if (found != expected)
        {
            throw new OnnxException(
                file.FilePath,
                "the tensor's data does not fit its shape",
                ElementTypes.Describe(tensor),
                $"{expected} values for {ElementTypes.Shape(tensor.Dims)}",
                string.Create(CultureInfo.InvariantCulture, $"{found}"));
        }
    }
}
