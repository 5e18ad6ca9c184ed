namespace Armor.Core.Pruning;

/// <summary>Chooses the block sizes of the wrappers.</summary>
/// <param name="Output">b_A, a divisor of d_out; <see langword="null"/>: A is the identity.</param>
/// <param name="Input">b_B, a divisor of d_in whole groups; <see langword="null"/>: B is the identity.</param>
internal readonly record struct BlockSizes(int? Output, int? Input)
{
    /// <summary>The block sizes for a weight of the given shape.</summary>
    public static BlockSizes For(ArmorPrunerOptions options, long rows, long columns) => UpTo(CapFor(options, rows, columns), options.Wrappers, options, rows, columns);

    /// <summary>What the block sizes of <see cref="For"/> go up to; 1 for no wrappers.</summary>
    public static int CapFor(ArmorPrunerOptions options, long rows, long columns)
    {
        if (options.BlockSize is { } size)
        {
            return size;
        }

        // One-sided wrappers may be twice as large for the same storage.
        int cap = options.Wrappers == WrapperSides.Both ? ArmorPrunerOptions.LargestBudgetBlock : 2 * ArmorPrunerOptions.LargestBudgetBlock;
        while (cap > 1 && UpTo(cap, options.Wrappers, options, rows, columns).Overhead(rows, columns) > options.StorageBudget)
        {
            cap--;
        }

        return cap;
    }

    /// <summary>The largest block sizes up to a cap on the sides wanted.</summary>
    public static BlockSizes UpTo(int cap, WrapperSides sides, ArmorPrunerOptions options, long rows, long columns)
    {
        // A block of one value is a mere scale and folds into the core.
        int output = LargestDivisor(rows, cap, 1);
        int input = LargestDivisor(columns, cap, options.Pattern.Group);
        return new(
            sides is WrapperSides.Both or WrapperSides.Output && output > 1 ? output : null,
            sides is WrapperSides.Both or WrapperSides.Input && input > 1 ? input : null);
    }

    /// <summary>d_out·b_A + d_in·b_B, the number of the wrappers' values.</summary>
    public long Values(long rows, long columns) => (rows * (Output ?? 0)) + (columns * (Input ?? 0));

    /// <summary>(d_out·b_A + d_in·b_B) / (d_out·d_in): the wrappers' values as a share of the weight's.</summary>
    public double Overhead(long rows, long columns) => Values(rows, columns) / ((double)rows * columns);

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
