using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A matrix packed into tiles. Rows are cut into tiles, a tile into steps (see <see cref="ITileForm"/>), whose values lie one after the other as they
/// are read. A block-diagonal matrix is that for each of its blocks.
/// </summary>
internal abstract unsafe class PackedMatrix : IDisposable
{
    protected PackedMatrix(TileLayout layout)
    {
        Layout = layout;
        Memory = new AlignedMemory(layout.Bytes);
    }

    public TileLayout Layout { get; }

    public AlignedMemory Memory { get; }

    /// <summary>Multiplies inputs by some of the tiles.</summary>
    /// <param name="firstTile">Counted over all blocks.</param>
    /// <param name="endTile">The one after the last.</param>
    /// <param name="input">As <see cref="InputPacking"/> leaves it.</param>
    /// <param name="batch">The number of inputs, at least 1.</param>
    /// <param name="output">[batch, rows].</param>
    /// <param name="scratch">Room for <see cref="ScratchBytes"/>.</param>
    public abstract void Multiply(int firstTile, int endTile, float* input, int batch, float* output, byte* scratch);

    /// <summary>What one call of <see cref="Multiply"/> needs beside its output.</summary>
    public abstract int ScratchBytes(int batch);

    public void Dispose() => Memory.Dispose();
}
