namespace Armor.Runtime.Factorization;

/// <summary>The six masks of a group of four columns: four bits with two set, column c at bit c.</summary>
internal static class MaskPatterns
{
    /// <summary>Whether exactly two of the four low bits are set.</summary>
    public static bool IsValid(int pattern) => int.PopCount(pattern & 0xF) == 2;

    /// <summary>The column of the first kept value of a valid pattern.</summary>
    public static int First(int pattern) => int.TrailingZeroCount(pattern);

    /// <summary>The column of the second kept value of a valid pattern.</summary>
    public static int Second(int pattern) => int.Log2(pattern);

    /// <summary>The pattern of a group of four in a row of a mask.</summary>
    /// <param name="maskRow">A row's bytes, column c at bit c % 8 of byte c / 8.</param>
    /// <param name="group">The group of four columns, from 0.</param>
    public static int Of(ReadOnlySpan<byte> maskRow, int group) => (maskRow[group >> 1] >> ((group & 1) * 4)) & 0xF;
}
