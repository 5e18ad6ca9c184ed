using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Tests.Kernels;

/// <summary>
/// What <see cref="TilePacker"/> must write, value by value from where <see cref="TileLayout"/> says that each lies: the packer that there was before
/// it moved words.
/// </summary>
internal static class ScalarPacker
{
    public static byte[] Dense(TileLayout layout, float[] values)
    {
        var size = layout.ElementType.ByteSize();
        return Fill(layout, (tile, row, index) =>
        {
            var stored = Stored(layout, values.AsSpan(index * layout.Columns, layout.Columns));
            for (var column = 0; column < layout.Columns; column++)
            {
                var (step, lane) = Math.DivRem(column, layout.Shape.Width);
                var place = (int)layout.ValuesAt(step) + (row * layout.Shape.VectorBytes) + (lane * sizeof(float)) + (step % layout.Shape.StepsPerRead * size);
                stored.AsSpan(column * size, size).CopyTo(tile.AsSpan()[place..]);
            }
        });
    }

    public static byte[] DenseInt8(TileLayout layout, float[] values) => Fill(layout, (tile, row, index) =>
    {
        var whole = new sbyte[layout.Columns];
        var scales = new float[layout.Sections];
        Int8Rounding.RoundRow(values.AsSpan(index * layout.Columns, layout.Columns), Int8Values.GroupColumns, whole, scales);
        for (var column = 0; column < layout.Columns; column++)
        {
            var (step, place) = Math.DivRem(column, layout.Shape.ColumnsPerStep);
            tile[(int)layout.ValuesAt(step) + (row * layout.Shape.ColumnsPerStep) + place] = (byte)whole[column];
            var header = (int)layout.SectionAt(step / layout.Shape.SectionSteps * layout.Shape.SectionSteps);
            BitConverter.TryWriteBytes(tile.AsSpan(header + (row * sizeof(float))), scales[column / Int8Values.GroupColumns]);
        }
    });

    public static byte[] Core(TileLayout layout, SparseCore core) => Fill(layout, (tile, row, index) =>
    {
        var size = layout.ElementType.ByteSize();
        var stored = Stored(layout, core.RowValues(index));
        var mask = core.RowMask(index);
        var groupsPerStep = layout.Shape.Width / 4;
        var vector = row / 2 * layout.Shape.VectorBytes;
        for (var group = 0; group < layout.Columns / 4; group++)
        {
            var step = group / groupsPerStep;
            var lane = (group % groupsPerStep * 4) + (row % 2 * 2);
            var section = step / layout.Shape.SectionSteps * layout.Shape.SectionSteps;
            var codes = MemoryMarshal.Cast<byte, uint>(tile.AsSpan((int)layout.SectionAt(section) + vector, layout.Shape.VectorBytes));
            var values = tile.AsSpan((int)layout.ValuesAt(step) + vector, layout.Shape.VectorBytes);
            var bits = (mask[group / 2] >> (group % 2 * 4)) & 0xF;
            for (var kept = 0; kept < 2; kept++, bits &= bits - 1)
            {
                codes[lane + kept] |= (uint)BitOperations.TrailingZeroCount(bits) << (2 * (step % layout.Shape.SectionSteps));
                var place = ((lane + kept) * sizeof(float)) + (step % layout.Shape.StepsPerRead * size);
                stored.AsSpan(((group * 2) + kept) * size, size).CopyTo(values[place..]);
            }
        }
    });

    public static byte[] Quantised(TileLayout layout, SparseCore core) => Fill(layout, (tile, row, index) =>
    {
        var shape = layout.Shape;
        var values = core.RowQuantised(index);
        var scales = core.RowScales(index);
        var mask = core.RowMask(index);
        var groupsPerStep = shape.ColumnsPerStep / 4;
        for (var section = 0; section < layout.Sections; section++)
        {
            var step = section * shape.SectionSteps;
            BitConverter.TryWriteBytes(tile.AsSpan((int)layout.SectionAt(step) + (row * sizeof(float))), scales[step * shape.ColumnsPerStep / 256]);
        }

        for (var group = 0; group < layout.Columns / 4; group++)
        {
            var step = group / groupsPerStep;
            var section = step / shape.SectionSteps * shape.SectionSteps;
            var inStep = group % groupsPerStep;
            var lane = (inStep / 2 * 4) + (row % 2 * 2) + (inStep % 2);
            var patterns = tile.AsSpan((int)layout.ValuesAt(section) - (4 * shape.VectorBytes) + (row / 2 * shape.VectorBytes), shape.VectorBytes);
            var pattern = PairPatterns.Of((mask[group / 2] >> (group % 2 * 4)) & 0xF) + (inStep % 2 == 1 ? 8u : 0);
            MemoryMarshal.Cast<byte, uint>(patterns)[lane] |= pattern << (4 * (step - section));
            var place = (int)layout.ValuesAt(step) + (row / 2 * shape.VectorBytes / 2) + (lane * 2);
            tile[place] = (byte)values[2 * group];
            tile[place + 1] = (byte)values[(2 * group) + 1];
        }
    });

    public static byte[] Blocks(TileLayout layout, BlockDiagonalMatrix matrix)
    {
        var size = layout.ElementType.ByteSize();
        return Fill(layout, (tile, row, index) =>
        {
            var block = index / layout.Rows;
            var stored = Stored(layout, matrix.Block(block).Slice((index - (block * layout.Rows)) * layout.Columns, layout.Columns));
            for (var column = 0; column < layout.Columns; column++)
            {
                var place = (int)layout.ValuesAt(column) + (row * sizeof(float)) + (column % layout.Shape.StepsPerRead * size);
                stored.AsSpan(column * size, size).CopyTo(tile.AsSpan()[place..]);
            }
        });
    }

    public static byte[] Int8Blocks(TileLayout layout, BlockDiagonalMatrix matrix) => Fill(layout, (tile, row, index) =>
    {
        var values = matrix.Values.Slice(index * layout.Columns, layout.Columns).ToArray();
        values[index % layout.Columns] = 0;
        var whole = new sbyte[layout.Columns];
        var scales = new float[layout.Sections];
        Int8Rounding.RoundRow(values, 128, whole, scales);
        for (var column = 0; column < layout.Columns; column++)
        {
            tile[(int)layout.ValuesAt(column / 2) + (2 * row) + (column % 2)] = (byte)whole[column];
        }

        for (var section = 0; section < layout.Sections; section++)
        {
            BitConverter.TryWriteBytes(tile.AsSpan((int)layout.SectionAt(section * layout.Shape.SectionSteps) + (row * sizeof(float))), scales[section]);
        }
    });

    private static byte[] Stored(TileLayout layout, ReadOnlySpan<float> values)
    {
        var stored = new byte[values.Length * layout.ElementType.ByteSize()];
        FloatConversion.FromFloat32(layout.ElementType, values, stored);
        return stored;
    }

    /// <summary>All tiles one after the other; told of each row of a tile, and which row of the matrix it is.</summary>
    private static byte[] Fill(TileLayout layout, Action<byte[], int, int> fillRow)
    {
        List<byte> all = [];
        for (var index = 0; index < layout.Tiles; index++)
        {
            var (block, tileOfBlock) = Math.DivRem(index, layout.TilesPerBlock);
            var tile = new byte[layout.TileBytes];
            var first = tileOfBlock * layout.Shape.RowsPerTile;
            for (var row = 0; row < Math.Min(layout.Shape.RowsPerTile, layout.Rows - first); row++)
            {
                fillRow(tile, row, (block * layout.Rows) + first + row);
            }

            all.AddRange(tile);
        }

        return [.. all];
    }
}
