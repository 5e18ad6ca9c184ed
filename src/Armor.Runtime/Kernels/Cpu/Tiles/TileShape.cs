namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// How a kind of tile is cut. A tile is some rows; it is multiplied in steps of some columns, and steps are grouped in sections, each with a header
/// (codes, scales) that lasts for them.
/// </summary>
internal sealed record TileShape
{
    /// <summary>Lanes of a vector of float32.</summary>
    public required int Width { get; init; }

    public required int RowsPerTile { get; init; }

    public required int ColumnsPerStep { get; init; }

    public required int SectionSteps { get; init; }

    /// <summary>Bytes of a section before its values.</summary>
    public int SectionHeader { get; init; }

    /// <summary>Steps whose values are read together: two of 16 bits lie in a 32-bit lane.</summary>
    public required int StepsPerRead { get; init; }

    /// <summary>Bytes that such steps read.</summary>
    public required int ReadBytes { get; init; }

    /// <summary>Bytes of a section in a packed group of inputs before their values.</summary>
    public int InputHeader { get; init; }

    /// <summary>Bytes of an input that a step reads.</summary>
    public required int InputStepBytes { get; init; }

    /// <summary>Inputs that go through a tile together.</summary>
    public required int GroupSize { get; init; }

    /// <summary>Whether a group of four inputs goes through half a tile at a time, for want of registers; a group of eight always does.</summary>
    public bool HalvesTiles { get; init; }

    public int VectorBytes => Width * sizeof(float);
}
