using System.Buffers;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>Fills the tiles of a <see cref="PackedMatrix"/>, some tiles at a time on every thread.</summary>
internal static unsafe class TilePacker
{
    private const int PieceBytes = 1 << 18;

    /// <summary>Packs a dense weight, reading it in pieces of rows.</summary>
    /// <exception cref="ArgumentException">A value for 8 bits is not finite.</exception>
    public static void PackDense(PackedMatrix matrix, DenseWeightSource source, ParallelOptions options)
    {
        var layout = matrix.Layout;
        var isInt8 = layout.ElementType == TensorElementType.Int8;
        RunPieces(matrix, layout.Columns * sizeof(float), options, (firstTile, endTile) =>
        {
            var firstRow = firstTile * layout.Shape.RowsPerTile;
            var rows = Math.Min(layout.Rows, endTile * layout.Shape.RowsPerTile) - firstRow;
            using var values = new Rented<float>(rows * layout.Columns);
            using var stored = new Rented<byte>(layout.Columns * layout.ElementType.ByteSize());
            using var scales = new Rented<float>(layout.Sections);
            source.Read(firstRow, values.Span);
            if (isInt8)
            {
                source.RequireFinite(firstRow, values.Span);
            }

            for (var row = 0; row < rows; row++)
            {
                var own = values.Span.Slice(row * layout.Columns, layout.Columns);
                var (tile, rowOfTile) = Math.DivRem(firstRow + row, layout.Shape.RowsPerTile);
                if (isInt8)
                {
                    var whole = MemoryMarshal.Cast<byte, sbyte>(stored.Span);
                    Int8Rounding.RoundRow(own, Int8Values.GroupColumns, whole, scales.Span);
                    RowPacking.Dense(layout, TileOf(matrix, tile), rowOfTile, whole, scales.Span);
                    continue;
                }

                FloatConversion.FromFloat32(layout.ElementType, own, stored.Span);
                if (layout.Shape.StepsPerRead == 1)
                {
                    RowPacking.Dense(layout, TileOf(matrix, tile), rowOfTile, MemoryMarshal.Cast<byte, uint>(stored.Span));
                }
                else
                {
                    RowPacking.Dense(layout, TileOf(matrix, tile), rowOfTile, MemoryMarshal.Cast<byte, ushort>(stored.Span));
                }
            }
        });
    }

    /// <summary>Packs a 2:4 core.</summary>
    public static void PackCore(PackedMatrix matrix, SparseCore core, ParallelOptions options)
    {
        var layout = matrix.Layout;
        RunPieces(matrix, core.RowValueCount * sizeof(float), options, (firstTile, endTile) =>
        {
            using var stored = new Rented<byte>(core.RowValueCount * layout.ElementType.ByteSize());
            for (var row = firstTile * layout.Shape.RowsPerTile; row < Math.Min(layout.Rows, endTile * layout.Shape.RowsPerTile); row++)
            {
                var (tile, rowOfTile) = Math.DivRem(row, layout.Shape.RowsPerTile);
                FloatConversion.FromFloat32(layout.ElementType, core.RowValues(row), stored.Span);
                fixed (byte* values = stored.Span, mask = core.RowMask(row))
                {
                    RowPacking.Core(layout, TileOf(matrix, tile), rowOfTile, values, mask);
                }
            }
        });
    }

    /// <summary>Packs a quantised 2:4 core.</summary>
    public static void PackQuantised(PackedMatrix matrix, SparseCore core, ParallelOptions options)
    {
        var layout = matrix.Layout;
        var shape = layout.Shape;
        RunPieces(matrix, core.RowValueCount, options, (firstTile, endTile) =>
        {
            for (var row = firstTile * shape.RowsPerTile; row < Math.Min(layout.Rows, endTile * shape.RowsPerTile); row++)
            {
                var (tile, rowOfTile) = Math.DivRem(row, shape.RowsPerTile);
                var scales = core.RowScales(row);
                for (var step = 0; step < layout.Steps; step += shape.SectionSteps)
                {
                    ((float*)(TileOf(matrix, tile) + layout.SectionAt(step)))[rowOfTile] = scales[step * shape.ColumnsPerStep / (2 * core.ValuesPerScale)];
                }

                fixed (byte* values = MemoryMarshal.AsBytes(core.RowQuantised(row)), mask = core.RowMask(row))
                {
                    RowPacking.QuantisedCore(layout, TileOf(matrix, tile), rowOfTile, values, mask);
                }
            }
        });
    }

    /// <summary>Packs a wrapper.</summary>
    /// <exception cref="ArgumentException">A value for 8 bits is not finite.</exception>
    public static void PackBlocks(PackedMatrix matrix, BlockDiagonalMatrix source, ParallelOptions options)
    {
        var layout = matrix.Layout;
        if (layout.ElementType == TensorElementType.Int8)
        {
            PackRoundedBlocks(matrix, source, options);
            return;
        }

        RunPieces(matrix, layout.Columns * sizeof(float), options, (firstTile, endTile) =>
        {
            using var stored = new Rented<byte>(Math.Min(layout.Rows, layout.Shape.RowsPerTile) * layout.Columns * layout.ElementType.ByteSize());
            for (var tile = firstTile; tile < endTile; tile++)
            {
                var (block, tileOfBlock) = Math.DivRem(tile, layout.TilesPerBlock);
                var firstRow = tileOfBlock * layout.Shape.RowsPerTile;
                var rows = Math.Min(layout.Shape.RowsPerTile, layout.Rows - firstRow);
                var bytes = stored.Span[..(rows * layout.Columns * layout.ElementType.ByteSize())];
                FloatConversion.FromFloat32(layout.ElementType, source.Block(block).Slice(firstRow * layout.Columns, rows * layout.Columns), bytes);
                RowPacking.Block(layout, TileOf(matrix, tile), rows, bytes);
            }
        });
    }

    private static void PackRoundedBlocks(PackedMatrix matrix, BlockDiagonalMatrix source, ParallelOptions options)
    {
        var layout = matrix.Layout;
        source.RequireFinite();
        var diagonal = new float[source.Size];
        RunPieces(matrix, layout.Columns * sizeof(float), options, (firstTile, endTile) =>
        {
            using var whole = new Rented<sbyte>(layout.Columns);
            using var scales = new Rented<float>(layout.Sections);
            for (var tile = firstTile; tile < endTile; tile++)
            {
                for (var row = layout.FirstRowOf(tile); row < layout.FirstRowOf(tile + 1); row++)
                {
                    diagonal[row] = source.RoundRow(row, whole.Span, scales.Span);
                    RowPacking.Block(layout, TileOf(matrix, tile), row - layout.FirstRowOf(tile), whole.Span, scales.Span);
                }
            }
        });
        matrix.Diagonal = diagonal;
    }

    /// <summary>Reads a row of a dense weight back.</summary>
    public static void CopyRow(PackedMatrix matrix, int row, Span<float> destination)
    {
        var layout = matrix.Layout;
        var (tile, rowOfTile) = Math.DivRem(row, layout.Shape.RowsPerTile);
        if (layout.ElementType == TensorElementType.Int8)
        {
            RowPacking.CopyDenseInt8(layout, TileOf(matrix, tile), rowOfTile, destination);
            return;
        }

        using var stored = new Rented<byte>(layout.Columns * layout.ElementType.ByteSize());
        fixed (byte* bytes = stored.Span)
        {
            RowPacking.CopyDense(layout, TileOf(matrix, tile), rowOfTile, layout.ElementType.ByteSize(), bytes);
        }

        FloatConversion.ToFloat32(layout.ElementType, stored.Span, destination);
    }

    private static byte* TileOf(PackedMatrix matrix, int tile) => matrix.Memory.Pointer + (tile * matrix.Layout.TileBytes);

    /// <summary>Fills the tiles in pieces that fit into a cache; what a tile has beyond the matrix is zero.</summary>
    /// <param name="matrix">To be filled.</param>
    /// <param name="rowBytes">Bytes of a row of the source.</param>
    /// <param name="options">Threads and cancellation.</param>
    /// <param name="fill">Fills the tiles from the first to before the second.</param>
    private static void RunPieces(PackedMatrix matrix, int rowBytes, ParallelOptions options, Action<int, int> fill)
    {
        var layout = matrix.Layout;
        var tilesAtOnce = (int)Math.Max(1, PieceBytes / ((long)rowBytes * layout.Shape.RowsPerTile));
        ParallelLoop.For((layout.Tiles + tilesAtOnce - 1) / tilesAtOnce, options, piece =>
        {
            var (first, end) = (piece * tilesAtOnce, Math.Min(layout.Tiles, (piece + 1) * tilesAtOnce));
            for (var tile = first; tile < end; tile++)
            {
                var isLast = (tile + 1) % layout.TilesPerBlock == 0;
                if (!layout.FillsRows || (isLast && !layout.FillsTiles))
                {
                    new Span<byte>(TileOf(matrix, tile), checked((int)layout.TileBytes)).Clear();
                }
            }

            fill(first, end);
        });
    }

    /// <summary>An array of the pool for a while.</summary>
    private readonly struct Rented<T>(int length) : IDisposable
    {
        private readonly T[] _array = ArrayPool<T>.Shared.Rent(length);

        public Span<T> Span => _array.AsSpan(0, length);

        public void Dispose() => ArrayPool<T>.Shared.Return(_array);
    }
}
