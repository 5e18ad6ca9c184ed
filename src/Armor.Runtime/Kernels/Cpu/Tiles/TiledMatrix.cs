using System.Runtime.CompilerServices;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>A packed matrix of one width of vector, stored type and form: drives the inner loops over tiles and inputs.</summary>
internal sealed unsafe class TiledMatrix<TVector, TVectors, TValues, TForm>(int blocks, int rows, int columns, TensorElementType elementType)
    : PackedMatrix(new TileLayout
    {
        Blocks = blocks,
        Rows = rows,
        Columns = columns,
        ElementType = elementType,
        Width = TVectors.Width,
        RowsPerTile = TForm.RowsOf(TVectors.Width),
        HasCodes = TForm.HasCodes,
        IsColumnwise = TForm.IsColumnwise,
        GroupSize = TVectors.GroupSize,
    })
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
    where TValues : IStoredValues
    where TForm : ITileForm
{
    /// <summary>A small batch reads the weight once; its inputs stay in the second-level cache.</summary>
    private const int SmallBatch = 16;

    // Of a larger batch, what stays in the caches: so many inputs (second level), so many steps of a tile and of a group of inputs (first level).
    private const int BatchBlock = 64;
    private const int StepBlock = 64;
    private const int TileBlock = 8;

    private int GroupSums => 4 * TVectors.GroupSize * TVectors.Width;

    public override int ScratchBytes(int batch)
        => batch > 1 && Layout.Steps > StepsAtOnce(batch) ? TileBlock * Groups(Math.Min(batch, BatchBlock)) * GroupSums * sizeof(float) : 0;

    public override void Multiply(int firstTile, int endTile, float* input, int batch, float* output, byte* scratch)
    {
        if (batch == 1)
        {
            MultiplyOne(firstTile, endTile, input, output);
            return;
        }

        for (var first = 0; first < batch; first += BatchBlock)
        {
            for (var tile = firstTile; tile < endTile; tile += TileBlock)
            {
                MultiplyBlock(tile, Math.Min(tile + TileBlock, endTile), input, first, Math.Min(BatchBlock, batch - first), batch, output, (float*)scratch);
            }
        }
    }

    private static int Groups(int batch) => (batch + TVectors.GroupSize - 1) / TVectors.GroupSize;

    private static int StepsAtOnce(int batch) => batch <= SmallBatch ? 4 * StepBlock : StepBlock;

    private void MultiplyOne(int firstTile, int endTile, float* input, float* output)
    {
        var sums = stackalloc float[8 * TVectors.Width];
        var half = TVectors.GroupSize == 4 ? (endTile - firstTile) / 2 : 0;
        for (var tile = firstTile; tile < firstTile + half; tile++)
        {
            TileKernels<TVector, TVectors, TValues, TForm>.OneByTwoTiles(
                TileAt(tile, 0), TileAt(tile + half, 0), InputOf(tile, input, 1), InputOf(tile + half, input, 1), Layout.Steps, sums);
            Finish(tile, sums, TVectors.Width, output);
            Finish(tile + half, sums + (4 * TVectors.Width), TVectors.Width, output);
        }

        for (var tile = firstTile + (2 * half); tile < endTile; tile++)
        {
            TileKernels<TVector, TVectors, TValues, TForm>.One(TileAt(tile, 0), InputOf(tile, input, 1), Layout.Steps, isFirst: true, sums);
            Finish(tile, sums, TVectors.Width, output);
        }
    }

    private void MultiplyBlock(int firstTile, int endTile, float* input, int firstInput, int count, int batch, float* output, float* carried)
    {
        var own = stackalloc float[GroupSums];
        var atOnce = StepsAtOnce(batch);
        var groups = Groups(count);
        var height = Layout.Blocks * Layout.Rows;
        for (var step = 0; step < Layout.Steps; step += atOnce)
        {
            var steps = Math.Min(atOnce, Layout.Steps - step);
            var isLast = step + steps == Layout.Steps;
            for (var tile = firstTile; tile < endTile; tile++)
            {
                var weights = TileAt(tile, step);
                for (var group = 0; group < groups; group++)
                {
                    var start = firstInput + (group * TVectors.GroupSize);
                    var (members, room) = InputPacking.GroupAt(start, batch, TVectors.GroupSize);
                    var sums = Layout.Steps > atOnce ? carried + ((((tile - firstTile) * groups) + group) * GroupSums) : own;
                    var x = InputOf(tile, input + ((long)start * Layout.Blocks * Layout.PaddedColumns), room) + ((long)step * Layout.ColumnsPerStep * room);
                    if (room == 4)
                    {
                        // The first groups of a tile fetch the next one between them, a line a step.
                        var next = group < 4 ? weights + Layout.TileBytes + (group * (steps / TValues.PerLane) * 64L) : weights;
                        TileKernels<TVector, TVectors, TValues, TForm>.Four(weights, x, steps, step == 0, sums, next);
                    }
                    else if (room == 2)
                    {
                        TileKernels<TVector, TVectors, TValues, TForm>.Two(weights, x, steps, step == 0, sums);
                    }
                    else
                    {
                        TileKernels<TVector, TVectors, TValues, TForm>.One(weights, x, steps, step == 0, sums);
                    }

                    for (var member = 0; isLast && member < members; member++)
                    {
                        Finish(tile, sums + (member * TVectors.Width), room * TVectors.Width, output + ((long)(start + member) * height));
                    }
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* TileAt(int tile, int step) => Memory.Pointer + (tile * Layout.TileBytes) + Layout.OffsetOf(step);

    /// <summary>A tile's input; the same for all but those of a block-diagonal matrix.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private float* InputOf(int tile, float* input, int room)
        => Layout.Blocks == 1 ? input : input + ((long)(tile / Layout.TilesPerBlock) * Layout.PaddedColumns * room);

    private void Finish(int tile, float* sums, int stride, float* output)
    {
        var (block, tileInBlock) = Layout.Blocks == 1 ? (0, tile) : Math.DivRem(tile, Layout.TilesPerBlock);
        var firstRow = tileInBlock * Layout.RowsPerTile;
        var rows = Layout.Rows - firstRow;
        output += ((long)block * Layout.Rows) + firstRow;
        if (rows >= Layout.RowsPerTile)
        {
            TForm.Finish<TVector, TVectors>(sums, stride, output);
            return;
        }

        var all = stackalloc float[4 * TVectors.Width > 8 ? 4 * TVectors.Width : 8];
        TForm.Finish<TVector, TVectors>(sums, stride, all);
        new ReadOnlySpan<float>(all, rows).CopyTo(new Span<float>(output, rows));
    }
}
