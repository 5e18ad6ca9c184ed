namespace Armor.Core.Pruning;

/// <summary>Chooses the block sizes of the wrappers.</summary>
/// <param name="Output">b_A, a divisor of d_out; <see langword="null"/>: A is the identity.</param>
/// <param name="Input">b_B, a divisor of d_in whole groups; <see langword="null"/>: B is the identity.</param>
internal readonly record struct BlockSizes(int? Output, int? Input)
{
    /// <summary>The block sizes for a weight of the given shape.</summary>
    public static BlockSizes For(ArmorPrunerOptions options, long rows, long columns)
    {
        if (options.BlockSize is { } size)
        {
            return UpTo(size, options, rows, columns);
        }

        // One-sided wrappers may be twice as large for the same storage.
        int largest = options.Wrappers == WrapperSides.Both ? ArmorPrunerOptions.LargestBudgetBlock : 2 * ArmorPrunerOptions.LargestBudgetBlock;
        for (int cap = largest; cap > 1; cap--)
        {
            BlockSizes sizes = UpTo(cap, options, rows, columns);
            if (sizes.Overhead(rows, columns) <= options.StorageBudget)
            {
                return sizes;
            }
        }

        return default;
    }

    /// <summary>(d_out·b_A + d_in·b_B) / (d_out·d_in): the wrappers' values as a share of the weight's.</summary>
    public double Overhead(long rows, long columns) =>
        ((Output is { } output ? (double)rows * output : 0) + (Input is { } input ? (double)columns * input : 0)) / ((double)rows * columns);

    // A block of one value is a mere scale and folds into the core.
    private static BlockSizes UpTo(int cap, ArmorPrunerOptions options, long rows, long columns)
    {
        int output = LargestDivisor(rows, cap, 1);
        int input = LargestDivisor(columns, cap, options.Pattern.Group);
        return new(
            options.Wrappers is WrapperSides.Both or WrapperSides.Output && output > 1 ? output : null,
            options.Wrappers is WrapperSides.Both or WrapperSides.Input && input > 1 ? input : null);
    }

    private static int LargestDivisor(long dimension, int cap, int multipleOf)
    {
        for (int size = (int)Math.Min(cap, dimension); size > 1; size--)
        {
            if (dimension % size == 0 && size % multipleOf == 0)
            {
                return size;
            }
        }

        return 1;
    }
}
