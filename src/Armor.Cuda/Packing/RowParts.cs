using System.Runtime.InteropServices;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Packing;

/// <summary>A dense weight in float32, row by row.</summary>
internal sealed class DenseRows(DenseWeightSource source) : IPackedParts
{
    public int Count => source.Rows;

    public int PartBytes => source.Columns * sizeof(float);

    public void Pack(int part, Span<byte> destination) => source.Read(part, MemoryMarshal.Cast<byte, float>(destination));
}

/// <summary>A wrapper in float32, row by row.</summary>
internal sealed class WrapperRows(BlockDiagonalMatrix matrix) : IPackedParts
{
    public int Count => matrix.Size;

    public int PartBytes => matrix.BlockSize * sizeof(float);

    public void Pack(int part, Span<byte> destination)
        => MemoryMarshal.AsBytes(matrix.Values.Span.Slice(part * matrix.BlockSize, matrix.BlockSize)).CopyTo(destination);
}

/// <summary>The kept values of a core of any pattern in float32, row by row.</summary>
internal sealed class KeptRows(SparseCore core) : IPackedParts
{
    public int Count => core.Rows;

    public int PartBytes => core.RowValueCount * sizeof(float);

    public void Pack(int part, Span<byte> destination) => MemoryMarshal.AsBytes(core.RowValues(part)).CopyTo(destination);
}

/// <summary>The columns of the kept values within their groups of M, a byte each, in groups of rows that make whole words.</summary>
internal sealed class KeptOffsets(SparseCore core) : IPackedParts
{
    private const int PartRows = 4;

    public int Count => (core.Rows + PartRows - 1) / PartRows;

    public int PartBytes => PartRows * core.RowValueCount;

    public void Pack(int part, Span<byte> destination)
    {
        destination.Clear();
        for (var row = part * PartRows; row < Math.Min(core.Rows, (part + 1) * PartRows); row++)
        {
            var mask = core.RowMask(row);
            var next = row % PartRows * core.RowValueCount;
            for (var column = 0; column < core.Columns; column++)
            {
                if (((mask[column / 8] >> (column % 8)) & 1) != 0)
                {
                    destination[next++] = (byte)(column % core.Pattern.Group);
                }
            }
        }
    }
}
