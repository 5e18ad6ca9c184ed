using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// The six ways to keep two of four columns as numbers of three bits, a fourth for the second of two groups in a 128-bit part of 16-bit inputs, and the
/// tables from them to the bytes that pick the two inputs.
/// </summary>
internal static unsafe class PairPatterns
{
    /// <summary>Added to each byte that picks in the second group.</summary>
    public const int SecondGroup = 0x08080808;

    // A mask's four bits to its pattern; -1 where not two are set.
    private static readonly sbyte[] Patterns = [-1, -1, -1, 0, -1, 1, 2, -1, -1, 3, 4, -1, 5, -1, -1, -1];

    /// <summary>[16] controls: bytes 2·first, 2·first + 1, 2·second, 2·second + 1; from the ninth on of the second group.</summary>
    public static int* Table { get; } = MakeTable();

    /// <summary>[16] bytes: twice the first column of each pattern, from the ninth on twice the second.</summary>
    public static byte* Bytes { get; } = MakeBytes();

    /// <summary>The pattern of a mask with two of its four bits set.</summary>
    public static uint Of(int mask) => (uint)Patterns[mask];

    private static int* MakeTable()
    {
        var table = (int*)Allocate(16 * sizeof(int));
        foreach (var (mask, pattern) in Valid())
        {
            var (first, second) = (2 * int.TrailingZeroCount(mask), 2 * int.Log2(mask));
            table[pattern] = first | ((first + 1) << 8) | (second << 16) | ((second + 1) << 24);
            table[pattern + 8] = table[pattern] + SecondGroup;
        }

        return table;
    }

    private static byte* MakeBytes()
    {
        var table = (byte*)Allocate(16);
        foreach (var (mask, pattern) in Valid())
        {
            table[pattern] = (byte)(2 * int.TrailingZeroCount(mask));
            table[pattern + 8] = (byte)(2 * int.Log2(mask));
        }

        return table;
    }

    private static IEnumerable<(int Mask, int Pattern)> Valid()
        => Enumerable.Range(0, 16).Where(mask => Patterns[mask] >= 0).Select(mask => (mask, (int)Patterns[mask]));

    // Constants of the process: never freed.
    private static nint Allocate(int bytes) => RuntimeHelpers.AllocateTypeAssociatedMemory(typeof(PairPatterns), bytes);
}
