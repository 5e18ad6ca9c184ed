namespace Armor.Runtime.Factorization;

/// <summary>A row of a mask as bits: column c at bit c % 8 of byte c / 8.</summary>
internal static class MaskBits
{
    /// <summary>The bits of some columns, the first at bit 0.</summary>
    /// <param name="maskRow">A row's bytes.</param>
    /// <param name="first">The first column.</param>
    /// <param name="count">How many columns, at most 16.</param>
    public static int Of(ReadOnlySpan<byte> maskRow, int first, int count)
    {
        var bits = 0;
        for (var i = first / 8; i <= (first + count - 1) / 8; i++)
        {
            bits |= maskRow[i] << ((i - (first / 8)) * 8);
        }

        return (bits >> (first % 8)) & ((1 << count) - 1);
    }

    /// <summary>Sets the bits of some columns; they must be clear.</summary>
    /// <param name="maskRow">A row's bytes.</param>
    /// <param name="first">The first column.</param>
    /// <param name="bits">The columns to set, the first at bit 0.</param>
    public static void Set(Span<byte> maskRow, int first, int bits)
    {
        var shifted = bits << (first % 8);
        for (var i = first / 8; shifted != 0; i++, shifted >>= 8)
        {
            maskRow[i] |= (byte)shifted;
        }
    }

    /// <summary>The columns that are set, in order, one after another.</summary>
    /// <param name="maskRow">A row's bytes.</param>
    public static Columns In(ReadOnlySpan<byte> maskRow) => new(maskRow);

    /// <summary>Walks the set bits.</summary>
    public ref struct Columns(ReadOnlySpan<byte> maskRow)
    {
        private readonly ReadOnlySpan<byte> _maskRow = maskRow;
        private int _byte = -1;
        private int _left;

        /// <summary>The next set column.</summary>
        public int Next()
        {
            while (_left == 0)
            {
                _left = _maskRow[++_byte];
            }

            var column = (_byte * 8) + int.TrailingZeroCount(_left);
            _left &= _left - 1;
            return column;
        }
    }
}
