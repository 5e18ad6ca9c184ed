using System.Buffers;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Packing;

/// <summary>A dense weight of 16-bit values, a part a tile of 16 rows: for each chunk of 256 columns sixteen fragments. Beyond the last row and column lie zeros.</summary>
internal sealed class DenseFragments(DenseWeightSource source, TensorElementType type) : IPackedParts
{
    public int Count => Fragments.TilesOf(source.Rows);

    public int PartBytes => Fragments.ChunksOf(source.Columns) * Fragments.DenseChunkBytes;

    public void Pack(int part, Span<byte> destination)
    {
        var (first, columns) = (part * Fragments.TileRows, source.Columns);
        var rows = Math.Min(Fragments.TileRows, source.Rows - first);
        var rented = ArrayPool<float>.Shared.Rent(rows * columns);
        try
        {
            var values = rented.AsSpan(0, rows * columns);
            source.Read(first, values);
            var halves = MemoryMarshal.Cast<byte, ushort>(destination);
            for (var index = 0; index < halves.Length; index++)
            {
                var (row, column) = PlaceOf(index);
                halves[index] = row < rows && column < columns ? HalfBits.From(values[(row * columns) + column], type) : (ushort)0;
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(rented);
        }
    }

    /// <summary>Reads a row of a tile back.</summary>
    /// <param name="tile">As <see cref="Pack"/> made it.</param>
    /// <param name="row">From 0 to 15.</param>
    /// <param name="type">BFloat16 or Float16.</param>
    /// <param name="destination">[columns].</param>
    public static void CopyRow(ReadOnlySpan<byte> tile, int row, TensorElementType type, Span<float> destination)
    {
        var halves = MemoryMarshal.Cast<byte, ushort>(tile);
        for (var index = 0; index < halves.Length; index++)
        {
            var (ownRow, column) = PlaceOf(index);
            if (ownRow == row && column < destination.Length)
            {
                destination[column] = HalfBits.ToFloat32(halves[index], type);
            }
        }
    }

    private static (int Row, int Column) PlaceOf(int index)
    {
        var (fragment, lane, i) = (index / (Fragments.Lanes * 8), index / 8 % Fragments.Lanes, index % 8);
        return (Fragments.RowOf(lane, i), (fragment * 16) + Fragments.ColumnOf(lane, i));
    }
}

/// <summary>A wrapper whose blocks are multiples of 16, a part a tile of 16 rows: the block size / 16 fragments.</summary>
internal sealed class WrapperFragments(BlockDiagonalMatrix matrix, TensorElementType type) : IPackedParts
{
    public int Count => matrix.Size / Fragments.TileRows;

    public int PartBytes => matrix.BlockSize / 16 * Fragments.Lanes * Fragments.LaneBytes;

    /// <summary>Whether fragments fit the blocks.</summary>
    public static bool Fit(BlockDiagonalMatrix matrix) => matrix.BlockSize % 16 == 0;

    /// <summary>Whether a product can apply the wrapper to its 128 rows at once.</summary>
    public static bool FitsBlockOfRows(BlockDiagonalMatrix matrix) => Fit(matrix) && Fragments.BlockRows % matrix.BlockSize == 0;

    public void Pack(int part, Span<byte> destination)
    {
        var b = matrix.BlockSize;
        var first = part * Fragments.TileRows;
        var block = matrix.Block(first / b);
        var halves = MemoryMarshal.Cast<byte, ushort>(destination);
        for (var index = 0; index < halves.Length; index++)
        {
            var (fragment, lane, i) = (index / (Fragments.Lanes * 8), index / 8 % Fragments.Lanes, index % 8);
            var row = (first % b) + Fragments.RowOf(lane, i);
            halves[index] = HalfBits.From(block[(row * b) + (fragment * 16) + Fragments.ColumnOf(lane, i)], type);
        }
    }
}
