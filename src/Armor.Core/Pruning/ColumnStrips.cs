namespace Armor.Core.Pruning;

/// <summary>
/// Cuts d_in into strips of whole block columns. Under a loss that couples columns, the product E·H is made anew for each strip; within a strip it
/// is kept up to date at little cost. Wide strips save products, narrow ones save work within.
/// </summary>
internal static class ColumnStrips
{
    private const long Width = 128;

    /// <summary>The strips as (first column, column count), all counts multiples of the block size.</summary>
    public static IEnumerable<(long First, long Count)> Of(long columns, long blockSize)
    {
        long width = Math.Max(blockSize, Width / blockSize * blockSize);
        for (long first = 0; first < columns; first += width)
        {
            yield return (first, Math.Min(width, columns - first));
        }
    }
}
