using Armor.Runtime.Factorization;

namespace Armor.Cuda.SelfTest;

/// <summary>Numbers from a seed.</summary>
internal static class RandomWeights
{
    /// <summary>From −1 to 1.</summary>
    public static float[] Values(int count, int seed) => Values(new Random(seed), count);

    /// <summary>From −1 to 1.</summary>
    public static float[] Values(Random random, int count)
    {
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = (float)((random.NextDouble() * 2) - 1);
        }

        return values;
    }

    /// <summary>A layer whose mask is random.</summary>
    public static ArmorLayer Layer(int rows, int columns, int? outputBlock, int? inputBlock, SparsityPattern pattern = default)
    {
        var random = new Random(rows + columns);
        var maskBytes = (columns + 7) / 8;
        var mask = new byte[rows * maskBytes];
        var order = new int[pattern.Group];
        for (var row = 0; row < rows; row++)
        {
            for (var first = 0; first < columns; first += pattern.Group)
            {
                for (var i = 0; i < order.Length; i++)
                {
                    order[i] = i;
                }

                random.Shuffle(order);
                for (var i = 0; i < pattern.Kept; i++)
                {
                    var column = first + order[i];
                    mask[(row * maskBytes) + (column / 8)] |= (byte)(1 << (column % 8));
                }
            }
        }

        return new ArmorLayer(
            outputBlock is { } a ? new BlockDiagonalMatrix(rows / a, a, Values(rows * a, 1)) : null,
            new SparseCore(rows, columns, Values(rows * pattern.KeptOf(columns), 2), mask, pattern),
            inputBlock is { } b ? new BlockDiagonalMatrix(columns / b, b, Values(columns * b, 3)) : null);
    }
}
