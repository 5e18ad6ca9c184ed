using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Onnx.Files;

/// <summary>Conversions between float32 and the stored types, little-endian; to the narrower ones round to nearest, ties to even.</summary>
internal static class FloatBytes
{
    public static void ToFloat32(TensorElementType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        switch (type)
        {
            case TensorElementType.Float32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case TensorElementType.Float16:
                System.Numerics.Tensors.TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case TensorElementType.BFloat16:
                ReadOnlySpan<ushort> upper = MemoryMarshal.Cast<byte, ushort>(source);
                for (int i = 0; i < upper.Length; i++)
                {
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)upper[i] << 16);
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a type of weights in ONNX.");
        }
    }

    public static void FromFloat32(TensorElementType type, ReadOnlySpan<float> source, Span<byte> destination)
    {
        switch (type)
        {
            case TensorElementType.Float32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                break;
            case TensorElementType.Float16:
                System.Numerics.Tensors.TensorPrimitives.ConvertToHalf(source, MemoryMarshal.Cast<byte, Half>(destination));
                break;
            case TensorElementType.BFloat16:
                Span<ushort> upper = MemoryMarshal.Cast<byte, ushort>(destination);
                for (int i = 0; i < upper.Length; i++)
                {
                    uint bits = BitConverter.SingleToUInt32Bits(source[i]);
                    bool isNan = (bits & 0x7FFFFFFF) > 0x7F800000;
                    upper[i] = (ushort)((isNan ? bits | 0x00400000 : bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Not a type of weights in ONNX.");
        }
    }
}
