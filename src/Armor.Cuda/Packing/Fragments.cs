namespace Armor.Cuda.Packing;

/// <summary>
/// The order in which the tensor cores' fragments want a matrix, as forms.cuh describes it. A tile is 16 rows; a lane is g = lane / 4 and t = lane % 4 and
/// holds rows g and g + 8 (PTX ISA, fragments of mma.m16n8k16 and mma.sp.m16n8k32).
/// </summary>
internal static class Fragments
{
    public const int TileRows = 16;
    public const int BlockRows = 128;
    public const int StepColumns = 32;
    public const int ChunkSteps = 8;
    public const int ChunkColumns = StepColumns * ChunkSteps;
    public const int Lanes = 32;
    public const int LaneBytes = 16;

    public const int DenseChunkBytes = 2 * ChunkSteps * Lanes * LaneBytes;
    public const int SparseChunkBytes = (ChunkSteps + 1) * Lanes * LaneBytes;
    public const int ScaleBytes = TileRows * sizeof(ushort);
    public const int Int8ChunkBytes = (((ChunkSteps / 2) + 1) * Lanes * LaneBytes) + ScaleBytes;

    /// <summary>Row of the tile for the i-th of a lane's eight values of one fragment.</summary>
    public static int RowOf(int lane, int i) => (lane / 4) + (i / 2 % 2 * 8);

    /// <summary>Stored column, 0 to 15, for the i-th of a lane's eight values of one fragment.</summary>
    public static int ColumnOf(int lane, int i) => (lane % 4 * 2) + (i % 2) + (i / 4 * 8);

    public static int TilesOf(int rows) => (rows + TileRows - 1) / TileRows;

    public static int ChunksOf(int columns) => (columns + ChunkColumns - 1) / ChunkColumns;
}
