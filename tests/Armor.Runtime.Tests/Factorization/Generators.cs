using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Factorization;

/// <summary>Random factors, for properties.</summary>
internal static class Generators
{
    private static readonly int[] Patterns = [0b0011, 0b0101, 0b1001, 0b0110, 0b1010, 0b1100];

    /// <summary>Layers up to 24×48 whose wrappers may be absent, of unequal block sizes.</summary>
    public static readonly Gen<ArmorLayer> Layer =
        Gen.Select(Gen.Int[1, 4], Gen.Int[1, 6], Gen.Int[1, 4], Gen.Int[1, 3], Gen.Int[0, 3], Gen.Int).Select((outBlocks, outSize, inBlocks, inQuarter, absent, seed) =>
            RandomLayer(outBlocks * outSize, inBlocks * inQuarter * 4, (absent & 1) == 0 ? outSize : null, (absent & 2) == 0 ? inQuarter * 4 : null, seed));

    public static ArmorLayer RandomLayer(int rows, int columns, int? outputBlock, int? inputBlock, int seed)
    {
        var random = new Random(seed);
        return new ArmorLayer(
            outputBlock is { } a ? new BlockDiagonalMatrix(rows / a, a, Values(random, rows * a)) : null,
            RandomCore(rows, columns, random),
            inputBlock is { } b ? new BlockDiagonalMatrix(columns / b, b, Values(random, columns * b)) : null);
    }

    public static SparseCore24 RandomCore(int rows, int columns, Random random)
    {
        var mask = new byte[rows * ((columns + 7) / 8)];
        for (var row = 0; row < rows; row++)
        {
            for (var group = 0; group < columns / 4; group++)
            {
                mask[(row * ((columns + 7) / 8)) + (group / 2)] |= (byte)(Patterns[random.Next(6)] << (group % 2 * 4));
            }
        }

        return new SparseCore24(rows, columns, Values(random, rows * columns / 2), mask);
    }

    public static float[] Values(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2) - 1))];

    /// <summary>A block-diagonal matrix with its zeros, [size, size]; the identity for null.</summary>
    public static double[,] Dense(BlockDiagonalMatrix? matrix, int size)
    {
        var dense = new double[size, size];
        for (var row = 0; row < size; row++)
        {
            if (matrix is null)
            {
                dense[row, row] = 1;
                continue;
            }

            var b = matrix.BlockSize;
            for (var column = 0; column < b; column++)
            {
                dense[row, (row / b * b) + column] = matrix.Values.Span[(row * b) + column];
            }
        }

        return dense;
    }

    /// <summary>A core with its zeros, read bit by bit.</summary>
    public static double[,] Dense(SparseCore24 core)
    {
        var dense = new double[core.Rows, core.Columns];
        var next = 0;
        for (var row = 0; row < core.Rows; row++)
        {
            for (var column = 0; column < core.Columns; column++)
            {
                if ((core.Mask.Span[(row * ((core.Columns + 7) / 8)) + (column / 8)] >> (column % 8) & 1) != 0)
                {
                    dense[row, column] = core.Values.Span[next++];
                }
            }
        }

        return dense;
    }

    public static double[,] Product(double[,] left, double[,] right)
    {
        var result = new double[left.GetLength(0), right.GetLength(1)];
        for (var i = 0; i < left.GetLength(0); i++)
        {
            for (var j = 0; j < right.GetLength(1); j++)
            {
                for (var k = 0; k < left.GetLength(1); k++)
                {
                    result[i, j] += left[i, k] * right[k, j];
                }
            }
        }

        return result;
    }

    /// <summary>Ŵ from dense factors.</summary>
    public static double[,] Dense(ArmorLayer layer)
        => Product(Product(Dense(layer.OutputWrapper, layer.Rows), Dense(layer.Core)), Dense(layer.InputWrapper, layer.Columns));
}
