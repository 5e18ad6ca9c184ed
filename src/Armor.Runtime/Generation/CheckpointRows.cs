using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A dense weight of a checkpoint, read from its file in pieces; values that are not finite are refused.</summary>
internal sealed class CheckpointRows(CheckpointFolder checkpoint, string name, int rows, int columns) : DenseWeightSource(rows, columns)
{
    protected override void ReadRows(int firstRow, Span<float> destination)
        => checkpoint.ReadFiniteFloat32(name, (long)firstRow * Columns, destination);
}
