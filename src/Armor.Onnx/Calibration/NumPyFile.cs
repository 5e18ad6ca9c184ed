using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Calibration;

/// <summary>Reads NumPy's <c>.npy</c> and <c>.npz</c> (the format that numpy.lib.format documents) as inputs of a model.</summary>
internal static partial class NumPyFile
{
    private const int LongestHeader = 1 << 16;

    private static readonly byte[] Magic = [0x93, .. "NUMPY"u8];

    private static readonly Dictionary<string, DataType> Types = new(StringComparer.Ordinal)
    {
        ["f4"] = DataType.Float, ["f2"] = DataType.Float16, ["f8"] = DataType.Double, ["i8"] = DataType.Int64, ["i4"] = DataType.Int32,
        ["i1"] = DataType.Int8, ["u1"] = DataType.Uint8, ["b1"] = DataType.Bool,
    };

    /// <summary>A tensor for each input.</summary>
    /// <param name="model">The model, for messages.</param>
    /// <param name="inputs">Its inputs.</param>
    /// <param name="path">The file.</param>
    public static IReadOnlyCollection<NamedOnnxValue> Read(string model, IReadOnlyList<ValueInfoProto> inputs, string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            if (Path.GetExtension(path).Equals(".npy", StringComparison.OrdinalIgnoreCase))
            {
                return inputs.Count == 1
                    ? [ReadArray(file, path, inputs[0])]
                    : throw new OnnxException(path, "an .npy holds one array only", null, "a model of one input", $"{model} with {inputs.Count}; use .npz");
            }

            using var archive = new ZipArchive(file, ZipArchiveMode.Read);
            return [.. inputs.Select(input =>
            {
                ZipArchiveEntry entry = archive.GetEntry(input.Name + ".npy")
                    ?? throw new OnnxException(path, "an input is missing", $"input '{input.Name}'", "an array of this name", string.Join(", ", archive.Entries.Select(found => found.Name)));
                using Stream stream = entry.Open();
                return ReadArray(stream, path, input);
            })];
        }
        catch (Exception exception) when (exception is InvalidDataException or EndOfStreamException)
        {
            throw new OnnxException(path, $"not a whole NumPy file: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
        catch (Exception exception) when (exception is (IOException or UnauthorizedAccessException) and not OnnxException)
        {
            throw new OnnxException(path, $"cannot be read: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }

    private static NamedOnnxValue ReadArray(Stream stream, string path, ValueInfoProto input)
    {
        string part = $"input '{input.Name}'";
        string header = ReadHeader(stream, path, part);
        string? Field(Regex pattern) => pattern.Match(header) is { Success: true } match ? match.Groups[1].Value : null;
        string descr = Field(TypeField) ?? throw new OnnxException(path, "the array's header has no type", part, "'descr': '<f4' or the like", header.Trim());
        if (!Types.TryGetValue(descr.TrimStart('<', '|', '='), out DataType type) || descr[0] == '>')
        {
            throw new OnnxException(path, "the array's type is not known", part, "a little-endian " + string.Join(", ", Types.Keys), descr);
        }

        if (Field(OrderField) != "False")
        {
            throw new OnnxException(path, "the array is not in C order", part, "numpy.ascontiguousarray", header.Trim());
        }

        int[] shape = ParseShape(Field(ShapeField) ?? throw new OnnxException(path, "the array's header has no shape", part, "'shape'", header.Trim()), path, part);
        RequireFit(path, input, type, shape, part);
        var bytes = new byte[checked((int)(ElementTypes.Count(shape.Select(size => (long)size)) * ElementTypes.ByteSize((int)type)!.Value))];
        stream.ReadExactly(bytes);
        return type switch
        {
            DataType.Float => Value<float>(),
            DataType.Float16 => Value<Float16>(),
            DataType.Double => Value<double>(),
            DataType.Int64 => Value<long>(),
            DataType.Int32 => Value<int>(),
            DataType.Int8 => Value<sbyte>(),
            DataType.Uint8 => Value<byte>(),
            _ => Value<bool>(),
        };

        NamedOnnxValue Value<T>()
            where T : unmanaged => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<T>(MemoryMarshal.Cast<byte, T>(bytes).ToArray(), shape));
    }

    private static string ReadHeader(Stream stream, string path, string part)
    {
        var start = new byte[8];
        stream.ReadExactly(start);
        if (!start.AsSpan(0, Magic.Length).SequenceEqual(Magic) || start[6] is < 1 or > 3)
        {
            throw new OnnxException(path, "not a NumPy array", part, "the mark of format 1 to 3", Convert.ToHexString(start));
        }

        var size = new byte[start[6] == 1 ? 2 : 4];
        stream.ReadExactly(size);
        uint length = start[6] == 1 ? BinaryPrimitives.ReadUInt16LittleEndian(size) : BinaryPrimitives.ReadUInt32LittleEndian(size);
        if (length > LongestHeader)
        {
            throw new OnnxException(path, "the array's header is too long", part, $"at most {LongestHeader} bytes", $"{length}");
        }

        var header = new byte[length];
        stream.ReadExactly(header);
        return Encoding.UTF8.GetString(header);
    }

    private static int[] ParseShape(string text, string path, string part)
    {
        try
        {
            int[] shape = [.. text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
                .Select(size => int.Parse(size, NumberStyles.None, CultureInfo.InvariantCulture))];
            if (ElementTypes.Count(shape.Select(size => (long)size)) <= int.MaxValue / sizeof(double))
            {
                return shape;
            }
        }
        catch (Exception exception) when (exception is FormatException or OverflowException)
        {
            // told below
        }

        throw new OnnxException(path, "the array's shape is not one that fits into memory", part, $"sizes of at most {int.MaxValue / sizeof(double)} elements", $"({text})");
    }

    private static void RequireFit(string path, ValueInfoProto input, DataType type, int[] shape, string part)
    {
        TypeProto.Types.Tensor? expected = input.Type.TensorType;
        bool isOfType = expected is null || expected.ElemType == (int)type;
        bool isOfShape = expected?.Shape is not { } sizes
            || (sizes.Dim.Count == shape.Length && sizes.Dim.Zip(shape).All(pair => !pair.First.HasDimValue || pair.First.DimValue == pair.Second));
        if (!isOfType || !isOfShape)
        {
            string Size(TensorShapeProto.Types.Dimension size) => size.HasDimValue ? $"{size.DimValue}" : size.HasDimParam ? size.DimParam : "?";
            throw new OnnxException(
                path,
                "the array is not what the model takes",
                part,
                $"{ElementTypes.Name(expected!.ElemType)}{(expected.Shape is null ? string.Empty : $" [{string.Join(", ", expected.Shape.Dim.Select(Size))}]")}",
                $"{ElementTypes.Name((int)type)} [{string.Join(", ", shape)}]");
        }
    }

    [GeneratedRegex(@"'descr'\s*:\s*'([^']+)'")]
    private static partial Regex TypeField { get; }

    [GeneratedRegex(@"'fortran_order'\s*:\s*(True|False)")]
    private static partial Regex OrderField { get; }

    [GeneratedRegex(@"'shape'\s*:\s*\(([^)]*)\)")]
    private static partial Regex ShapeField { get; }
}
