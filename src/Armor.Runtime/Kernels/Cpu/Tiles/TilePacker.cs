using System.Buffers;
using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>Fills the tiles of a <see cref="PackedMatrix"/>, some tiles at a time on every thread.</summary>
internal static unsafe class TilePacker
{
    private const int PieceBytes = 1 << 18;

    /// <summary>Packs a dense weight, reading it in pieces of rows.</summary>
    public static void PackDense(PackedMatrix matrix, DenseWeightSource source, ParallelOptions options)
    {
        var layout = matrix.Layout;
        var size = layout.ElementType.ByteSize();
        var tilesAtOnce = Math.Max(1, PieceBytes / sizeof(float) / layout.Columns / layout.RowsPerTile);
        Run((layout.Tiles + tilesAtOnce - 1) / tilesAtOnce, options, piece =>
        {
            var firstTile = piece * tilesAtOnce;
            var endTile = Math.Min(layout.Tiles, firstTile + tilesAtOnce);
            var firstRow = firstTile * layout.RowsPerTile;
            var count = (Math.Min(layout.Rows, endTile * layout.RowsPerTile) - firstRow) * layout.Columns;
            var values = ArrayPool<float>.Shared.Rent(count);
            var stored = ArrayPool<byte>.Shared.Rent(count * size);
            try
            {
                source.Read(firstRow, values.AsSpan(0, count));
                FloatConversion.FromFloat32(layout.ElementType, values.AsSpan(0, count), stored.AsSpan(0, count * size));
                for (var tile = firstTile; tile < endTile; tile++)
                {
                    var tileBytes = TileOf(matrix, tile);
                    tileBytes.Clear();
                    for (var row = 0; row < layout.RowsPerTile && (tile * layout.RowsPerTile) + row < layout.Rows; row++)
                    {
                        var start = ((((tile - firstTile) * layout.RowsPerTile) + row) * layout.Columns) * size;
                        PackRow(layout, tileBytes, row, stored.AsSpan(start, layout.Columns * size));
                    }
                }
            }
            finally
            {
                ArrayPool<float>.Shared.Return(values);
                ArrayPool<byte>.Shared.Return(stored);
            }
        });
    }

    /// <summary>Packs a 2:4 core.</summary>
    public static void PackCore(PackedMatrix matrix, SparseCore core, ParallelOptions options)
    {
        var layout = matrix.Layout;
        var size = layout.ElementType.ByteSize();
        Run(layout.Tiles, options, tile =>
        {
            var tileBytes = TileOf(matrix, tile);
            tileBytes.Clear();
            var stored = ArrayPool<byte>.Shared.Rent(core.RowValueCount * size);
            try
            {
                for (var row = 0; row < layout.RowsPerTile && (tile * layout.RowsPerTile) + row < layout.Rows; row++)
                {
                    var index = (tile * layout.RowsPerTile) + row;
                    var values = stored.AsSpan(0, core.RowValueCount * size);
                    FloatConversion.FromFloat32(layout.ElementType, core.RowValues(index), values);
                    PackCoreRow(layout, tileBytes, row, values, core.RowMask(index));
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(stored);
            }
        });
    }

    /// <summary>Packs a wrapper.</summary>
    public static void PackBlocks(PackedMatrix matrix, BlockDiagonalMatrix source, ParallelOptions options)
    {
        var layout = matrix.Layout;
        var size = layout.ElementType.ByteSize();
        var rowBytes = layout.Columns * size;
        Run(layout.Blocks, options, block =>
        {
            var stored = ArrayPool<byte>.Shared.Rent(layout.Rows * rowBytes);
            try
            {
                FloatConversion.FromFloat32(layout.ElementType, source.Block(block), stored.AsSpan(0, layout.Rows * rowBytes));
                for (var tile = 0; tile < layout.TilesPerBlock; tile++)
                {
                    var tileBytes = TileOf(matrix, (block * layout.TilesPerBlock) + tile);
                    tileBytes.Clear();
                    for (var lane = 0; lane < layout.RowsPerTile && (tile * layout.RowsPerTile) + lane < layout.Rows; lane++)
                    {
                        PackBlockRow(layout, tileBytes, lane, stored.AsSpan(((tile * layout.RowsPerTile) + lane) * rowBytes, rowBytes));
                    }
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(stored);
            }
        });
    }

    /// <summary>Reads a row of a dense weight back.</summary>
    public static void CopyRow(PackedMatrix matrix, int row, Span<float> destination)
    {
        var layout = matrix.Layout;
        var size = layout.ElementType.ByteSize();
        var tile = TileOf(matrix, row / layout.RowsPerTile);
        var vector = row % layout.RowsPerTile * layout.VectorBytes;
        var stored = ArrayPool<byte>.Shared.Rent(layout.PaddedColumns * size);
        try
        {
            for (var step = 0; step < layout.Steps; step++)
            {
                var lanes = tile.Slice((int)layout.OffsetOf(step) + vector, layout.VectorBytes);
                for (var lane = 0; lane < layout.Width; lane++)
                {
                    lanes.Slice((lane * sizeof(float)) + (step % layout.PerLane * size), size).CopyTo(stored.AsSpan(((step * layout.Width) + lane) * size));
                }
            }

            FloatConversion.ToFloat32(layout.ElementType, stored.AsSpan(0, layout.Columns * size), destination);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(stored);
        }
    }

    /// <summary>Row by row: a vector of the tile holds as many columns of the row as it has lanes.</summary>
    private static void PackRow(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<byte> stored)
    {
        var vector = row * layout.VectorBytes;
        for (var step = 0; step < layout.Steps; step += layout.PerLane)
        {
            var lanes = tile.Slice((int)layout.OffsetOf(step) + vector, layout.VectorBytes);
            var first = step * layout.Width;
            if (layout.PerLane == 1)
            {
                var values = MemoryMarshal.Cast<byte, uint>(stored)[first..];
                values[..Math.Min(layout.Width, values.Length)].CopyTo(MemoryMarshal.Cast<byte, uint>(lanes));
            }
            else
            {
                var values = MemoryMarshal.Cast<byte, ushort>(stored)[first..];
                Interleave(values[..Math.Min(layout.Width, values.Length)], values[Math.Min(layout.Width, values.Length)..], MemoryMarshal.Cast<byte, uint>(lanes));
            }
        }
    }

    /// <summary>Two steps of 16-bit values into the two halves of the lanes.</summary>
    private static void Interleave(ReadOnlySpan<ushort> low, ReadOnlySpan<ushort> high, Span<uint> lanes)
    {
        if (high.Length >= lanes.Length)
        {
            for (var lane = 0; lane < lanes.Length; lane++)
            {
                lanes[lane] = low[lane] | ((uint)high[lane] << 16);
            }

            return;
        }

        for (var lane = 0; lane < low.Length; lane++)
        {
            lanes[lane] = low[lane] | (lane < high.Length ? (uint)high[lane] << 16 : 0);
        }
    }

    /// <summary>A row of a core: its kept values at its half of the row pair's vector, and their places in the group as codes of two bits.</summary>
    private static void PackCoreRow(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<byte> stored, ReadOnlySpan<byte> mask)
    {
        var size = layout.ElementType.ByteSize();
        var groupsPerStep = layout.Width / 4;
        var vector = row / 2 * layout.VectorBytes;
        for (var group = 0; group < layout.Columns / 4; group++)
        {
            var step = group / groupsPerStep;
            var lane = (group % groupsPerStep * 4) + (row % 2 * 2);
            var codedStep = step / TileLayout.CodedSteps * TileLayout.CodedSteps;
            var codes = MemoryMarshal.Cast<byte, uint>(tile.Slice((int)layout.OffsetOf(codedStep) + vector, layout.VectorBytes));
            var values = tile.Slice((int)OffsetOfValues(layout, step) + vector, layout.VectorBytes);
            var bits = (mask[group / 2] >> (group % 2 * 4)) & 0xF;
            for (var kept = 0; kept < 2; kept++, bits &= bits - 1)
            {
                codes[lane + kept] |= (uint)BitOperations.TrailingZeroCount(bits) << (2 * (step % TileLayout.CodedSteps));
                var place = ((lane + kept) * sizeof(float)) + (step % layout.PerLane * size);
                stored.Slice(((group * 2) + kept) * size, size).CopyTo(values[place..]);
            }
        }
    }

    /// <summary>Column by column: a row has its lane in one vector of every step.</summary>
    private static void PackBlockRow(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<byte> stored)
    {
        var size = layout.ElementType.ByteSize();
        for (var column = 0; column < layout.Columns; column++)
        {
            var place = (int)layout.OffsetOf(column) + (row * sizeof(float)) + (column % layout.PerLane * size);
            stored.Slice(column * size, size).CopyTo(tile[place..]);
        }
    }

    /// <summary>Beyond the codes of the step, where there are some.</summary>
    private static long OffsetOfValues(TileLayout layout, int step)
    {
        var codes = (step / TileLayout.CodedSteps) + 1;
        return ((long)codes + (step / layout.PerLane)) * 4 * layout.VectorBytes;
    }

    private static Span<byte> TileOf(PackedMatrix matrix, int tile)
        => new(matrix.Memory.Pointer + (tile * matrix.Layout.TileBytes), checked((int)matrix.Layout.TileBytes));

    private static void Run(int count, ParallelOptions options, Action<int> body)
    {
        try
        {
            Parallel.For(0, count, options, body);
        }
        catch (AggregateException exception)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }
    }
}
