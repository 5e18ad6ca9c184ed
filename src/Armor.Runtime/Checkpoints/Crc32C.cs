using System.Numerics;
using System.Runtime.InteropServices;

namespace Armor.Runtime.Checkpoints;

/// <summary>CRC-32C (Castagnoli, as in iSCSI, RFC 3720), by the processor's instruction where it has one.</summary>
internal static class Crc32C
{
    public const uint Start = 0xFFFFFFFF;

    // x⁰, x¹ and the generator, as polynomials over GF(2) whose highest bit is the constant term.
    private const uint One = 0x80000000;
    private const uint X = 0x40000000;
    private const uint Generator = 0x82F63B78;

    public static uint Update(uint state, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (var word in words)
        {
            state = BitOperations.Crc32C(state, word);
        }

        foreach (var rest in bytes[(words.Length * sizeof(ulong))..])
        {
            state = BitOperations.Crc32C(state, rest);
        }

        return state;
    }

    public static uint Finish(uint state) => ~state;

    public static uint Compute(ReadOnlySpan<byte> bytes) => Finish(Update(Start, bytes));

    /// <summary>The checksum of bytes in two parts, from those of the parts.</summary>
    /// <param name="first">Of the first part.</param>
    /// <param name="second">Of the second part.</param>
    /// <param name="shift"><see cref="ShiftOf"/> the second part's length.</param>
    public static uint Combine(uint first, uint second, uint shift) => Multiply(first, shift) ^ second;

    /// <summary>x to the power of so many bytes' bits, modulo the generator: what bytes that follow multiply a checksum by.</summary>
    public static uint ShiftOf(long bytes)
    {
        var (power, result) = (X, One);
        for (var bits = 8 * bytes; bits > 0; bits >>= 1)
        {
            result = (bits & 1) != 0 ? Multiply(result, power) : result;
            power = Multiply(power, power);
        }

        return result;
    }

    private static uint Multiply(uint left, uint right)
    {
        uint product = 0;
        for (var bit = One; bit != 0; bit >>= 1)
        {
            product ^= (left & bit) != 0 ? right : 0;
            right = (right >> 1) ^ ((right & 1) != 0 ? Generator : 0);
        }

        return product;
    }
}
