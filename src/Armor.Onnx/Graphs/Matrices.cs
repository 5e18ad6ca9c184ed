namespace Armor.Onnx.Graphs;

/// <summary>Row-major matrices.</summary>
internal static class Matrices
{
    private const int Tile = 32;

    /// <summary>The transpose, [columns, rows].</summary>
    /// <param name="source">[rows, columns].</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    public static float[] Transposed(ReadOnlySpan<float> source, int rows, int columns)
    {
        var result = new float[source.Length];
        Transpose(source, result, rows, columns);
        return result;
    }

    /// <summary>Writes the transpose, [columns, rows], tile by tile: whole lines of the cache.</summary>
    public static void Transpose(ReadOnlySpan<float> source, Span<float> destination, int rows, int columns)
    {
        for (int top = 0; top < rows; top += Tile)
        {
            int bottom = Math.Min(rows, top + Tile);
            for (int left = 0; left < columns; left += Tile)
            {
                int right = Math.Min(columns, left + Tile);
                for (int row = top; row < bottom; row++)
                {
                    for (int column = left; column < right; column++)
                    {
                        destination[(column * rows) + row] = source[(row * columns) + column];
                    }
                }
            }
        }
    }
}
