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
        var tilesAtOnce = Math.Max(1, PieceBytes / sizeof(float) / layout.Columns / layout.Shape.RowsPerTile);
        Run((layout.Tiles + tilesAtOnce - 1) / tilesAtOnce, options, piece =>
        {
            var firstTile = piece * tilesAtOnce;
            var endTile = Math.Min(layout.Tiles, firstTile + tilesAtOnce);
            var firstRow = firstTile * layout.Shape.RowsPerTile;
            var count = (Math.Min(layout.Rows, endTile * layout.Shape.RowsPerTile) - firstRow) * layout.Columns;
            var values = ArrayPool<float>.Shared.Rent(count);
            var stored = ArrayPool<byte>.Shared.Rent(count * size);
            try
            {
                source.Read(firstRow, values.AsSpan(0, count));
                var isInt8 = layout.ElementType == TensorElementType.Int8;
                if (isInt8)
                {
                    source.RequireFinite(firstRow, values.AsSpan(0, count));
                }
                else
                {
                    FloatConversion.FromFloat32(layout.ElementType, values.AsSpan(0, count), stored.AsSpan(0, count * size));
                }

                for (var tile = firstTile; tile < endTile; tile++)
                {
                    var tileBytes = TileOf(matrix, tile);
                    tileBytes.Clear();
                    for (var row = 0; row < layout.Shape.RowsPerTile && (tile * layout.Shape.RowsPerTile) + row < layout.Rows; row++)
                    {
                        var start = (((tile - firstTile) * layout.Shape.RowsPerTile) + row) * layout.Columns;
                        if (isInt8)
                        {
                            PackInt8Row(layout, tileBytes, row, values.AsSpan(start, layout.Columns), stored.AsSpan(0, layout.Columns));
                        }
                        else
                        {
                            PackRow(layout, tileBytes, row, stored.AsSpan(start * size, layout.Columns * size));
                        }
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
                for (var row = 0; row < layout.Shape.RowsPerTile && (tile * layout.Shape.RowsPerTile) + row < layout.Rows; row++)
                {
                    var index = (tile * layout.Shape.RowsPerTile) + row;
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

    /// <summary>Packs a quantised 2:4 core.</summary>
    public static void PackQuantised(PackedMatrix matrix, SparseCore core, ParallelOptions options)
    {
        var layout = matrix.Layout;
        Run(layout.Tiles, options, tile =>
        {
            var tileBytes = TileOf(matrix, tile);
            tileBytes.Clear();
            for (var row = 0; row < layout.Shape.RowsPerTile && (tile * layout.Shape.RowsPerTile) + row < layout.Rows; row++)
            {
                PackQuantisedRow(layout, tileBytes, row, core, (tile * layout.Shape.RowsPerTile) + row);
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
                    for (var lane = 0; lane < layout.Shape.RowsPerTile && (tile * layout.Shape.RowsPerTile) + lane < layout.Rows; lane++)
                    {
                        PackBlockRow(layout, tileBytes, lane, stored.AsSpan(((tile * layout.Shape.RowsPerTile) + lane) * rowBytes, rowBytes));
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
        if (layout.ElementType == TensorElementType.Int8)
        {
            CopyInt8Row(layout, TileOf(matrix, row / layout.Shape.RowsPerTile), row % layout.Shape.RowsPerTile, destination);
            return;
        }

        var size = layout.ElementType.ByteSize();
        var tile = TileOf(matrix, row / layout.Shape.RowsPerTile);
        var vector = row % layout.Shape.RowsPerTile * layout.Shape.VectorBytes;
        var stored = ArrayPool<byte>.Shared.Rent(layout.Steps * layout.Shape.ColumnsPerStep * size);
        try
        {
            for (var step = 0; step < layout.Steps; step++)
            {
                var lanes = tile.Slice((int)layout.ValuesAt(step) + vector, layout.Shape.VectorBytes);
                for (var lane = 0; lane < layout.Shape.Width; lane++)
                {
                    lanes.Slice((lane * sizeof(float)) + (step % layout.Shape.StepsPerRead * size), size).CopyTo(stored.AsSpan(((step * layout.Shape.Width) + lane) * size));
                }
            }

            FloatConversion.ToFloat32(layout.ElementType, stored.AsSpan(0, layout.Columns * size), destination);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(stored);
        }
    }

    /// <summary>Rounds a row to 8 bits: a section's scale, then as many bytes a step as it has columns.</summary>
    private static void PackInt8Row(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<float> values, Span<byte> rounded)
    {
        var scales = ArrayPool<float>.Shared.Rent(layout.Sections);
        Int8Rounding.RoundRow(values, Int8Values.GroupColumns, MemoryMarshal.Cast<byte, sbyte>(rounded), scales.AsSpan(0, layout.Sections));
        for (var section = 0; section < layout.Sections; section++)
        {
            Int8Scale(layout, tile, section, row) = scales[section];
        }

        ArrayPool<float>.Shared.Return(scales);
        var unit = layout.Shape.ColumnsPerStep;
        for (var step = 0; step < layout.Steps; step++)
        {
            var bytes = rounded[(step * unit)..Math.Min(rounded.Length, (step + 1) * unit)];
            bytes.CopyTo(tile[((int)layout.ValuesAt(step) + (row * unit))..]);
        }
    }

    private static void CopyInt8Row(TileLayout layout, Span<byte> tile, int row, Span<float> destination)
    {
        var unit = layout.Shape.ColumnsPerStep;
        for (var column = 0; column < destination.Length; column++)
        {
            var step = column / unit;
            var value = (sbyte)tile[(int)layout.ValuesAt(step) + (row * unit) + (column % unit)];
            destination[column] = value * Int8Scale(layout, tile, step / layout.Shape.SectionSteps, row);
        }
    }

    private static ref float Int8Scale(TileLayout layout, Span<byte> tile, int section, int row)
        => ref MemoryMarshal.Cast<byte, float>(tile[(int)layout.SectionAt(section * layout.Shape.SectionSteps)..])[row];

    /// <summary>Row by row: a vector of the tile holds as many columns of the row as it has lanes.</summary>
    private static void PackRow(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<byte> stored)
    {
        var vector = row * layout.Shape.VectorBytes;
        for (var step = 0; step < layout.Steps; step += layout.Shape.StepsPerRead)
        {
            var lanes = tile.Slice((int)layout.ValuesAt(step) + vector, layout.Shape.VectorBytes);
            var first = step * layout.Shape.Width;
            if (layout.Shape.StepsPerRead == 1)
            {
                var values = MemoryMarshal.Cast<byte, uint>(stored)[first..];
                values[..Math.Min(layout.Shape.Width, values.Length)].CopyTo(MemoryMarshal.Cast<byte, uint>(lanes));
            }
            else
            {
                var values = MemoryMarshal.Cast<byte, ushort>(stored)[first..];
                Interleave(values[..Math.Min(layout.Shape.Width, values.Length)], values[Math.Min(layout.Shape.Width, values.Length)..], MemoryMarshal.Cast<byte, uint>(lanes));
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
        var groupsPerStep = layout.Shape.Width / 4;
        var vector = row / 2 * layout.Shape.VectorBytes;
        for (var group = 0; group < layout.Columns / 4; group++)
        {
            var step = group / groupsPerStep;
            var lane = (group % groupsPerStep * 4) + (row % 2 * 2);
            var section = step / layout.Shape.SectionSteps * layout.Shape.SectionSteps;
            var codes = MemoryMarshal.Cast<byte, uint>(tile.Slice((int)layout.SectionAt(section) + vector, layout.Shape.VectorBytes));
            var values = tile.Slice((int)layout.ValuesAt(step) + vector, layout.Shape.VectorBytes);
            var bits = (mask[group / 2] >> (group % 2 * 4)) & 0xF;
            for (var kept = 0; kept < 2; kept++, bits &= bits - 1)
            {
                codes[lane + kept] |= (uint)BitOperations.TrailingZeroCount(bits) << (2 * (step % layout.Shape.SectionSteps));
                var place = ((lane + kept) * sizeof(float)) + (step % layout.Shape.StepsPerRead * size);
                stored.Slice(((group * 2) + kept) * size, size).CopyTo(values[place..]);
            }
        }
    }

    /// <summary>A row of a quantised core: a section's scale, each group's pattern at its lane, and its two bytes in the order of the lanes.</summary>
    private static void PackQuantisedRow(TileLayout layout, Span<byte> tile, int row, SparseCore core, int index)
    {
        var values = core.RowQuantised(index);
        var scales = core.RowScales(index);
        var mask = core.RowMask(index);
        var shape = layout.Shape;
        var groupsPerStep = shape.ColumnsPerStep / 4;
        var scaleColumns = core.ValuesPerScale * 2;
        for (var section = 0; section < layout.Sections; section++)
        {
            var step = section * shape.SectionSteps;
            var header = tile[(int)layout.SectionAt(step)..];
            BitConverter.TryWriteBytes(header[(row * sizeof(float))..], scales[step * shape.ColumnsPerStep / scaleColumns]);
        }

        for (var group = 0; group < layout.Columns / 4; group++)
        {
            var step = group / groupsPerStep;
            var section = step / shape.SectionSteps * shape.SectionSteps;
            var inStep = group % groupsPerStep;
            var lane = (inStep / 2 * 4) + (row % 2 * 2) + (inStep % 2);
            var patterns = tile.Slice((int)layout.ValuesAt(section) - (4 * shape.VectorBytes) + (row / 2 * shape.VectorBytes), shape.VectorBytes);
            var pattern = PairPatterns.Of((mask[group / 2] >> (group % 2 * 4)) & 0xF) + (inStep % 2 == 1 ? 8u : 0);
            MemoryMarshal.Cast<byte, uint>(patterns)[lane] |= pattern << (4 * (step - section));
            var place = (int)layout.ValuesAt(step) + (row / 2 * shape.VectorBytes / 2) + (lane * 2);
            tile[place] = (byte)values[2 * group];
            tile[place + 1] = (byte)values[(2 * group) + 1];
        }
    }

    /// <summary>Column by column: a row has its lane in one vector of every step.</summary>
    private static void PackBlockRow(TileLayout layout, Span<byte> tile, int row, ReadOnlySpan<byte> stored)
    {
        var size = layout.ElementType.ByteSize();
        for (var column = 0; column < layout.Columns; column++)
        {
            var place = (int)layout.ValuesAt(column) + (row * sizeof(float)) + (column % layout.Shape.StepsPerRead * size);
            stored.Slice(column * size, size).CopyTo(tile[place..]);
        }
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
