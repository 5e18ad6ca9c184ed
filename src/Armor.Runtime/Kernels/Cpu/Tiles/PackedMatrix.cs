namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A matrix packed into tiles, whose values lie one after the other as they are read. A block-diagonal matrix is that for each of its blocks.
/// </summary>
internal abstract unsafe class PackedMatrix(TileLayout layout) : IDisposable
{
    public TileLayout Layout { get; } = layout;

    public AlignedMemory Memory { get; } = new(layout.Bytes);

    /// <summary>Whether a batch can be multiplied as it is, without packing.</summary>
    public abstract bool ReadsInPlace(int batch);

    /// <summary>Brings a share of a batch into the order in which tiles read it.</summary>
    /// <param name="input">[batch, columns].</param>
    /// <param name="batch">The number of inputs.</param>
    /// <param name="packed">Room for <see cref="TileLayout.PackedBytes"/>.</param>
    /// <param name="part">The share.</param>
    /// <param name="parts">Number of shares.</param>
    public abstract void PackInput(float* input, int batch, byte* packed, int part, int parts);

    /// <summary>Multiplies inputs by some of the tiles.</summary>
    /// <param name="firstTile">Counted over all blocks.</param>
    /// <param name="endTile">The one after the last.</param>
    /// <param name="input">Packed, or read in place.</param>
    /// <param name="batch">The number of inputs, at least 1.</param>
    /// <param name="output">[batch, rows].</param>
    /// <param name="scratch">Room for <see cref="ScratchBytes"/>.</param>
    public abstract void Multiply(int firstTile, int endTile, byte* input, int batch, float* output, byte* scratch);

    /// <summary>What one call of <see cref="Multiply"/> needs beside its output.</summary>
    public abstract int ScratchBytes(int batch);

    public void Dispose() => Memory.Dispose();
}
