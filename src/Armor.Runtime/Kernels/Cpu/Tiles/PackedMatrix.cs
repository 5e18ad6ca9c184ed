using System.Numerics;
using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A matrix packed into tiles, whose values lie one after the other as they are read. A block-diagonal matrix is that for each of its blocks.
/// </summary>
internal abstract unsafe class PackedMatrix(TileLayout layout) : IDisposable
{
    public TileLayout Layout { get; } = layout;

    public AlignedMemory Memory { get; } = new(layout.Bytes);

    /// <summary>A diagonal that is held apart from the tiles, of a square matrix; null where there is none.</summary>
    public float[]? Diagonal { get; set; }

    public long Bytes => Layout.Bytes + ((Diagonal?.Length ?? 0) * sizeof(float));

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

    /// <summary>Adds the diagonal's part to the products by some of the tiles.</summary>
    /// <param name="firstTile">Counted over all blocks.</param>
    /// <param name="endTile">The one after the last.</param>
    /// <param name="input">[batch, columns], as it came.</param>
    /// <param name="batch">The number of inputs, at least 1.</param>
    /// <param name="output">[batch, rows].</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void AddDiagonal(int firstTile, int endTile, float* input, int batch, float* output)
    {
        if (Diagonal is null)
        {
            return;
        }

        var (first, end) = (Layout.FirstRowOf(firstTile), Layout.FirstRowOf(endTile));
        fixed (float* diagonal = Diagonal)
        {
            for (var item = 0; item < batch; item++, input += Layout.Height, output += Layout.Height)
            {
                var row = first;
                for (; row <= end - Vector<float>.Count; row += Vector<float>.Count)
                {
                    (Vector.Load(output + row) + (Vector.Load(diagonal + row) * Vector.Load(input + row))).Store(output + row);
                }

                for (; row < end; row++)
                {
                    output[row] += diagonal[row] * input[row];
                }
            }
        }
    }

    /// <summary>What one call of <see cref="Multiply"/> needs beside its output.</summary>
    public abstract int ScratchBytes(int batch);

    public void Dispose() => Memory.Dispose();
}
