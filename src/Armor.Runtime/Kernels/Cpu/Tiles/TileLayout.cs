using System.Runtime.CompilerServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// Where the values of a packed matrix and of its packed inputs lie. Tile after tile; in a tile section after section; in a section its header, then
/// its steps. Inputs: group after group of inputs; in a group block after block (of a block-diagonal matrix, each of which has its own columns); in a
/// block section after section; in a section its header, then for each step every input of the group.
/// </summary>
internal sealed class TileLayout
{
    public TileLayout(TileShape shape, int blocks, int rows, int columns, TensorElementType elementType)
    {
        Shape = shape;
        Blocks = blocks;
        Rows = rows;
        Columns = columns;
        ElementType = elementType;
        var columnsPerRead = shape.ColumnsPerStep * shape.StepsPerRead;
        Steps = (int)(((long)columns + columnsPerRead - 1) / columnsPerRead * shape.StepsPerRead);
        Sections = (Steps + shape.SectionSteps - 1) / shape.SectionSteps;
        TilesPerBlock = (rows + shape.RowsPerTile - 1) / shape.RowsPerTile;
        TileBytes = ((long)Sections * shape.SectionHeader) + ((long)Steps / shape.StepsPerRead * shape.ReadBytes);
    }

    public TileShape Shape { get; }

    /// <summary>Blocks of a block-diagonal matrix; 1 for any other.</summary>
    public int Blocks { get; }

    /// <summary>Rows of a block.</summary>
    public int Rows { get; }

    /// <summary>Columns of a block.</summary>
    public int Columns { get; }

    public TensorElementType ElementType { get; }

    /// <summary>Steps of a tile; the last ones may reach beyond the columns, where values and inputs are zero.</summary>
    public int Steps { get; }

    public int Sections { get; }

    public int TilesPerBlock { get; }

    public long TileBytes { get; }

    public int Tiles => Blocks * TilesPerBlock;

    public long Bytes => Tiles * TileBytes;

    /// <summary>Whether the steps end with the last column.</summary>
    public bool FillsRows => (long)Steps * Shape.ColumnsPerStep == Columns;

    /// <summary>Whether the last tile of a block ends with its last row.</summary>
    public bool FillsTiles => Rows % Shape.RowsPerTile == 0;

    /// <summary>Rows of all blocks.</summary>
    public int Height => Blocks * Rows;

    /// <summary>The first row of a tile, counted over all blocks; of the tile after the last, their number.</summary>
    public int FirstRowOf(int tile)
    {
        var (block, tileOfBlock) = Math.DivRem(tile, TilesPerBlock);
        return (block * Rows) + (tileOfBlock * Shape.RowsPerTile);
    }

    /// <summary>Where in a tile the section of a step begins; the step is a section's first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long SectionAt(int step)
        => ((long)step / Shape.SectionSteps * Shape.SectionHeader) + ((long)step / Shape.StepsPerRead * Shape.ReadBytes);

    /// <summary>Where in a tile the values of a step, and of those that are read with it, begin.</summary>
    public long ValuesAt(int step)
        => (((long)step / Shape.SectionSteps) + 1) * Shape.SectionHeader + ((long)step / Shape.StepsPerRead * Shape.ReadBytes);

    /// <summary>Bytes of a group of inputs.</summary>
    /// <param name="room">Inputs that the group has room for.</param>
    public long GroupBytes(int room) => Blocks * InputBlockBytes(room);

    /// <summary>Bytes of a block of a group of inputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long InputBlockBytes(int room) => ((long)Sections * Shape.InputHeader) + ((long)Steps * Shape.InputStepBytes * room);

    /// <summary>Where in a block of a group of inputs the section of a step begins; the step is a section's first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long InputSectionAt(int step, int room)
        => ((long)step / Shape.SectionSteps * Shape.InputHeader) + ((long)step * Shape.InputStepBytes * room);

    /// <summary>Bytes of a packed batch.</summary>
    public long PackedBytes(int batch)
    {
        var (full, rest) = Math.DivRem(batch, Shape.GroupSize);
        return (full * GroupBytes(Shape.GroupSize)) + (rest == 0 ? 0 : GroupBytes(RoomFor(rest)));
    }

    /// <summary>Inputs that a group of so many members has room for: one, two, four or eight.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int RoomFor(int members) => members <= 2 ? members : members <= 4 ? 4 : 8;
}
