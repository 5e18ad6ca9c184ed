using System.Collections.Frozen;

namespace Armor.Runtime.Checkpoints;

/// <summary>Sizes and stored names of <see cref="TensorElementType"/>.</summary>
public static class TensorElementTypes
{
    private static readonly (TensorElementType Type, string Name, int Size)[] All =
    [
        (TensorElementType.Float32, "F32", 4),
        (TensorElementType.Float16, "F16", 2),
        (TensorElementType.BFloat16, "BF16", 2),
        (TensorElementType.Float64, "F64", 8),
        (TensorElementType.Float8E5M2, "F8_E5M2", 1),
        (TensorElementType.Float8E4M3, "F8_E4M3", 1),
        (TensorElementType.Boolean, "BOOL", 1),
        (TensorElementType.UInt8, "U8", 1),
        (TensorElementType.Int8, "I8", 1),
        (TensorElementType.UInt16, "U16", 2),
        (TensorElementType.Int16, "I16", 2),
        (TensorElementType.UInt32, "U32", 4),
        (TensorElementType.Int32, "I32", 4),
        (TensorElementType.UInt64, "U64", 8),
        (TensorElementType.Int64, "I64", 8),
    ];

    private static readonly FrozenDictionary<string, TensorElementType> ByName =
        All.ToFrozenDictionary(entry => entry.Name, entry => entry.Type, StringComparer.Ordinal);

    /// <summary>The size of one element in bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not of the enumeration.</exception>
    public static int ByteSize(this TensorElementType type) => Entry(type).Size;

    /// <summary>The name in a safetensors header, such as <c>BF16</c>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is not of the enumeration.</exception>
    public static string SafetensorsName(this TensorElementType type) => Entry(type).Name;

    /// <summary>Whether tensors of this type can be read as, and written from, <see cref="float"/>.</summary>
    public static bool ConvertsToFloat32(this TensorElementType type)
        => type is TensorElementType.Float32 or TensorElementType.Float16 or TensorElementType.BFloat16 or TensorElementType.Float64;

    /// <summary>The type of a safetensors name such as <c>BF16</c>; names are case-sensitive.</summary>
    public static bool TryParseSafetensorsName(string name, out TensorElementType type) => ByName.TryGetValue(name, out type);

    internal static string KnownNames => string.Join(", ", All.Select(entry => entry.Name));

    private static (TensorElementType Type, string Name, int Size) Entry(TensorElementType type)
    {
        var index = (int)type;
        if ((uint)index >= (uint)All.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(type), type, "Not a tensor element type.");
        }

        return All[index];
    }
}
