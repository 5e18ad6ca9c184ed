using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Factorization;
using CsCheck;

namespace Armor.KernelConformance;

/// <summary>Random factors, for properties.</summary>
public static class Generators
{
    /// <summary>2:4 and others: groups of a byte, across bytes, of two bytes, and mostly kept ones.</summary>
    public static readonly SparsityPattern[] Patterns = [new(2, 4), new(1, 4), new(4, 8), new(6, 8), new(3, 5), new(1, 2), new(2, 3), new(5, 16), new(15, 16)];

    /// <summary>Layers of any pattern whose wrappers may be absent, of unequal block sizes.</summary>
    public static readonly Gen<ArmorLayer> Layer =
        Gen.Select(Gen.Int[1, 4], Gen.Int[1, 6], Gen.Int[1, 4], Gen.Int[1, 3], Gen.Int[0, 3], Gen.Int[0, Patterns.Length - 1].Select(index => Patterns[index]), Gen.Int).Select(
            (outBlocks, outSize, inBlocks, inGroups, absent, pattern, seed) => RandomLayer(
                outBlocks * outSize,
                inBlocks * inGroups * pattern.Group,
                (absent & 1) == 0 ? outSize : null,
                (absent & 2) == 0 ? inGroups * pattern.Group : null,
                seed,
                pattern));

    public static ArmorLayer RandomLayer(int rows, int columns, int? outputBlock, int? inputBlock, int seed, SparsityPattern pattern = default)
    {
        var random = new Random(seed);
        return new ArmorLayer(
            outputBlock is { } a ? new BlockDiagonalMatrix(rows / a, a, Values(random, rows * a)) : null,
            RandomCore(rows, columns, random, pattern),
            inputBlock is { } b ? new BlockDiagonalMatrix(columns / b, b, Values(random, columns * b)) : null);
    }

    public static SparseCore RandomCore(int rows, int columns, Random random, SparsityPattern pattern = default)
    {
        var mask = new byte[rows * ((columns + 7) / 8)];
        for (var row = 0; row < rows; row++)
        {
            for (var first = 0; first < columns; first += pattern.Group)
            {
                foreach (var column in Enumerable.Range(first, pattern.Group).OrderBy(_ => random.Next()).Take(pattern.Kept))
                {
                    mask[(row * ((columns + 7) / 8)) + (column / 8)] |= (byte)(1 << (column % 8));
                }
            }
        }

        return new SparseCore(rows, columns, Values(random, rows * columns / pattern.Group * pattern.Kept), mask, pattern);
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
    public static double[,] Dense(SparseCore core)
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
            var sums = MemoryMarshal.CreateSpan(ref result[i, 0], result.GetLength(1));
            for (var k = 0; k < right.GetLength(0); k++)
            {
                // Wrappers and cores are mostly zeros.
                if (left[i, k] != 0)
                {
                    AddScaled(left[i, k], MemoryMarshal.CreateReadOnlySpan(ref right[k, 0], sums.Length), sums);
                }
            }
        }

        return result;
    }

    /// <summary>Ŵ from dense factors.</summary>
    public static double[,] Dense(ArmorLayer layer)
    {
        var core = Dense(layer.Core);
        var left = layer.OutputWrapper is null ? core : Product(Dense(layer.OutputWrapper, layer.Rows), core);
        return layer.InputWrapper is null ? left : Product(left, Dense(layer.InputWrapper, layer.Columns));
    }

    /// <summary>The layer of the absolute values of each factor.</summary>
    public static ArmorLayer Absolute(ArmorLayer layer)
    {
        return new ArmorLayer(
            Wrapper(layer.OutputWrapper),
            new SparseCore(layer.Rows, layer.Columns, Values(layer.Core.Values), layer.Core.Mask.ToArray(), layer.Core.Pattern),
            Wrapper(layer.InputWrapper));

        static BlockDiagonalMatrix? Wrapper(BlockDiagonalMatrix? matrix)
            => matrix is null ? null : new BlockDiagonalMatrix(matrix.BlockCount, matrix.BlockSize, Values(matrix.Values));

        static float[] Values(ReadOnlyMemory<float> values) => [.. values.ToArray().Select(Math.Abs)];
    }

    private static void AddScaled(double factor, ReadOnlySpan<double> row, Span<double> sums)
    {
        var width = Vector<double>.Count;
        var whole = sums.Length / width * width;
        for (var i = 0; i < whole; i += width)
        {
            (new Vector<double>(sums[i..]) + (new Vector<double>(row[i..]) * factor)).CopyTo(sums[i..]);
        }

        for (var i = whole; i < sums.Length; i++)
        {
            sums[i] += factor * row[i];
        }
    }
}
