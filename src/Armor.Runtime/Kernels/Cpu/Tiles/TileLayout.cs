using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>Where the values of a packed matrix lie.</summary>
internal sealed record TileLayout
{
    /// <summary>The steps whose codes fit the 32 bits of a lane.</summary>
    public const int CodedSteps = 16;

    /// <summary>Blocks of a block-diagonal matrix; 1 for any other.</summary>
    public required int Blocks { get; init; }

    /// <summary>Rows of a block.</summary>
    public required int Rows { get; init; }

    /// <summary>Columns of a block.</summary>
    public required int Columns { get; init; }

    public required TensorElementType ElementType { get; init; }

    /// <summary>Lanes of a vector.</summary>
    public required int Width { get; init; }

    public required int RowsPerTile { get; init; }

    public required bool HasCodes { get; init; }

    public required bool IsColumnwise { get; init; }

    /// <summary>Inputs that go through a tile together.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Values in a 32-bit lane.</summary>
    public int PerLane => sizeof(float) / ElementType.ByteSize();

    public int VectorBytes => Width * sizeof(float);

    public int ColumnsPerStep => IsColumnwise ? 1 : Width;

    /// <summary>Steps of a tile: whole lanes.</summary>
    public int Steps
    {
        get
        {
            var perLane = PerLane * ColumnsPerStep;
            return (Columns + perLane - 1) / perLane * PerLane;
        }
    }

    /// <summary>Columns of a block in the packed input: beyond the last one are zeros.</summary>
    public int PaddedColumns => Steps * ColumnsPerStep;

    public int TilesPerBlock => (Rows + RowsPerTile - 1) / RowsPerTile;

    public int Tiles => Blocks * TilesPerBlock;

    public long TileBytes => OffsetOf(Steps);

    public long Bytes => Tiles * TileBytes;

    /// <summary>Where a step's vectors lie in a tile; of a multiple of <see cref="CodedSteps"/>, where its codes lie.</summary>
    public long OffsetOf(int step)
    {
        var coded = HasCodes ? (step + CodedSteps - 1) / CodedSteps : 0;
        return ((long)coded + (step / PerLane)) * 4 * VectorBytes;
    }
}
