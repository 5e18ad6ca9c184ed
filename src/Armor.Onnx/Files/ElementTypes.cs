using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Files;

/// <summary>The element types of ONNX tensors.</summary>
internal static class ElementTypes
{
    /// <summary>The size of an element in bytes; null where it is not a whole number of bytes, or the type is not known here.</summary>
    public static int? ByteSize(int dataType) => (DataType)dataType switch
    {
        DataType.Float or DataType.Int32 or DataType.Uint32 => 4,
        DataType.Double or DataType.Int64 or DataType.Uint64 or DataType.Complex64 => 8,
        DataType.Complex128 => 16,
        DataType.Float16 or DataType.Bfloat16 or DataType.Int16 or DataType.Uint16 => 2,
        DataType.Int8 or DataType.Uint8 or DataType.Bool => 1,
        (DataType)17 or (DataType)18 or (DataType)19 or (DataType)20 => 1, // the float8 types
        _ => null,
    };

    /// <summary>The type that weights of a data type are read and written in; null for types that hold no weights.</summary>
    public static TensorElementType? Floating(int dataType) => (DataType)dataType switch
    {
        DataType.Float => TensorElementType.Float32,
        DataType.Float16 => TensorElementType.Float16,
        DataType.Bfloat16 => TensorElementType.BFloat16,
        _ => null,
    };

    /// <summary>The data type of a floating type.</summary>
    public static DataType Of(TensorElementType type) => type switch
    {
        TensorElementType.Float32 => DataType.Float,
        TensorElementType.Float16 => DataType.Float16,
        TensorElementType.BFloat16 => DataType.Bfloat16,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Not a type of weights in ONNX."),
    };

    /// <summary>The name for messages.</summary>
    public static string Name(int dataType) =>
        Enum.IsDefined((DataType)dataType) ? ((DataType)dataType).ToString().ToLowerInvariant() : FormattableString.Invariant($"type {dataType}");

    /// <summary>The number of elements of a tensor, from its dimensions.</summary>
    /// <exception cref="OverflowException">There are more than 2^63.</exception>
    public static long Count(IEnumerable<long> dims) => dims.Aggregate(1L, (product, size) => checked(product * size));

    /// <summary>A tensor's shape for messages.</summary>
    public static string Shape(IEnumerable<long> dims) => $"[{string.Join(", ", dims)}]";

    /// <summary>A tensor's name for messages.</summary>
    public static string Describe(TensorProto tensor) => $"tensor '{tensor.Name}'";
}
