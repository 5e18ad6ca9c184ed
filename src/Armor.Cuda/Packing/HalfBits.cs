using Armor.Runtime.Checkpoints;

namespace Armor.Cuda.Packing;

/// <summary>Sixteen-bit floats as bits; to nearest, ties to even.</summary>
internal static class HalfBits
{
    public static ushort From(float value, TensorElementType type) => type == TensorElementType.BFloat16 ? ToBFloat16(value) : BitConverter.HalfToUInt16Bits((Half)value);

    public static float ToFloat32(ushort bits, TensorElementType type)
        => type == TensorElementType.BFloat16 ? BitConverter.UInt32BitsToSingle((uint)bits << 16) : (float)BitConverter.UInt16BitsToHalf(bits);

    private static ushort ToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);

        // NaN stays NaN, whatever its lower bits.
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
