using Armor.Runtime.Factorization;

namespace Armor.Core.Tests.Recovery;

/// <summary>Random factorised layers.</summary>
internal static class RandomLayers
{
    public static ArmorLayer Create(int rows, int columns, int? output, int? input, SparsityPattern pattern, int seed = 1)
    {
        var random = new Random(seed);
        var dense = new float[rows * columns];
        for (int first = 0; first < dense.Length; first += pattern.Group)
        {
            foreach (int place in Enumerable.Range(0, pattern.Group).OrderBy(_ => random.Next()).Take(pattern.Kept))
            {
                dense[first + place] = Value();
            }
        }

        return new ArmorLayer(Wrapper(rows, output), SparseCore.FromDense(dense, rows, columns, pattern), Wrapper(columns, input));

        BlockDiagonalMatrix? Wrapper(int size, int? block) =>
            block is { } b ? new BlockDiagonalMatrix(size / b, b, [.. Enumerable.Range(0, size * b).Select(_ => Value())]) : null;

        float Value() => (float)(random.NextDouble() - 0.5) + 0.01f;
    }
}
