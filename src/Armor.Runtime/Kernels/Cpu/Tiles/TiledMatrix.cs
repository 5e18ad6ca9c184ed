using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>A packed matrix of one kind of tile: drives the inner loops over tiles and inputs.</summary>
internal sealed unsafe class TiledMatrix<TKernels, TInputs>(TileLayout layout) : PackedMatrix(layout)
    where TKernels : ITileKernels
    where TInputs : IInputPacking
{
    /// <summary>A small batch reads the weight once; its inputs stay in the second-level cache.</summary>
    private const int SmallBatch = 16;

    // Of a larger batch, what stays in the caches: so many inputs (second level), so many steps of a tile and of a group of inputs (first level).
    private const int BatchBlock = 64;
    private const int StepBlock = 128;
    private const int TileBlock = 8;

    // Or a block of tiles while so many bytes of a group of inputs, half of the first-level cache, stay there.
    private const int LargeGroup = 8;
    private const int GroupBytes = 1 << 14;

    private readonly int _groupSize = layout.Shape.GroupSize;
    private readonly int _width = layout.Shape.Width;

    private int GroupSums => 4 * _groupSize * _width;

    public override bool ReadsInPlace(int batch)
        => TInputs.IsCopy && batch == 1 && Layout.Steps * Layout.Shape.ColumnsPerStep == Layout.Columns;

    public override int ScratchBytes(int batch)
        => batch > 1 && Layout.Steps > StepsAtOnce(batch) ? TileBlock * Groups(Math.Min(batch, BatchBlock)) * GroupSums * sizeof(float) : 0;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void PackInput(float* input, int batch, byte* packed, int part, int parts)
    {
        // Shares are ranges of sections over all blocks.
        var first = (int)((long)Layout.Blocks * Layout.Sections * part / parts);
        var end = (int)((long)Layout.Blocks * Layout.Sections * (part + 1) / parts);
        for (var section = first; section < end;)
        {
            var (block, sectionInBlock) = Math.DivRem(section, Layout.Sections);
            var endInBlock = Math.Min(Layout.Sections, sectionInBlock + end - section);
            for (var start = 0; start < batch; start += _groupSize)
            {
                var members = Math.Min(_groupSize, batch - start);
                var room = TileLayout.RoomFor(members);
                var group = packed + (start / _groupSize * Layout.GroupBytes(_groupSize)) + (block * Layout.InputBlockBytes(room));
                for (var member = 0; member < room; member++)
                {
                    var columns = member < members ? input + (((long)(start + member) * Layout.Blocks) + block) * Layout.Columns : null;
                    TInputs.Pack(Layout, columns, sectionInBlock, endInBlock, group, member, room);
                }
            }

            section += endInBlock - sectionInBlock;
        }
    }

    public override void Multiply(int firstTile, int endTile, byte* input, int batch, float* output, byte* scratch)
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

    private int StepsAtOnce(int batch)
        => KeepsInputs(batch) ? Math.Clamp(GroupBytes / (_groupSize * Layout.Shape.InputStepBytes), 16, 256)
            : batch <= SmallBatch ? 2 * StepBlock : StepBlock;

    /// <summary>
    /// What stays in the first-level cache: a group of inputs while the tiles pass (true) or a tile while the groups do. Measured: the first where half a
    /// tile is multiplied at a time, and for two inputs where a reading is two steps.
    /// </summary>
    private bool KeepsInputs(int batch)
        => _groupSize == LargeGroup || Layout.Shape.HalvesTiles || (batch == 2 && Layout.Shape.StepsPerRead > 1);

    private int Groups(int batch) => (batch + _groupSize - 1) / _groupSize;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void MultiplyOne(int firstTile, int endTile, byte* input, float* output)
    {
        var sums = stackalloc float[8 * _width];

        // Of the 8-bit loops, 16 registers hold one tile's sums and patterns only.
        var half = _groupSize > 2 ? (endTile - firstTile) / 2 : 0;
        for (var tile = firstTile; tile < firstTile + half; tile++)
        {
            TKernels.OneByTwoTiles(TileAt(tile, 0), TileAt(tile + half, 0), InputOf(tile, input, 1), InputOf(tile + half, input, 1), Layout.Steps, sums);
            Finish(tile, sums, _width, output);
            Finish(tile + half, sums + (4 * _width), _width, output);
        }

        for (var tile = firstTile + (2 * half); tile < endTile; tile++)
        {
            TKernels.One(TileAt(tile, 0), InputOf(tile, input, 1), Layout.Steps, isFirst: true, sums);
            Finish(tile, sums, _width, output);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void MultiplyBlock(int firstTile, int endTile, byte* input, int firstInput, int count, int batch, float* output, float* carried)
    {
        var own = stackalloc float[GroupSums];
        var atOnce = StepsAtOnce(batch);
        var groups = Groups(count);
        var tiles = endTile - firstTile;
        var keepsInputs = KeepsInputs(batch);

        // The first groups fetch between them what is next, no faster than they must: more than memory delivers makes them wait. Two inputs of float32
        // read a tile from front to back, and leave that to the processor.
        var all = Math.Max(1, Layout.Shape.ReadBytes / Prefetching.LineBytes);
        var lines = Math.Max(all / (groups >= 4 ? 4 : groups >= 2 ? 2 : 1), keepsInputs && _groupSize >= 4 ? 2 : 1);
        var fetches = batch > 2 || keepsInputs;
        for (var step = 0; step < Layout.Steps; step += atOnce)
        {
            var steps = Math.Min(atOnce, Layout.Steps - step);
            var isLast = step + steps == Layout.Steps;
            for (var i = 0; i < tiles * groups; i++)
            {
                var (tile, group) = keepsInputs ? (i % tiles, i / tiles) : (i / groups, i % groups);
                tile += firstTile;
                var weights = TileAt(tile, step);
                var start = firstInput + (group * _groupSize);
                var members = Math.Min(_groupSize, batch - start);
                var room = TileLayout.RoomFor(members);
                var sums = Layout.Steps > atOnce ? carried + ((((tile - firstTile) * groups) + group) * GroupSums) : own;
                var x = InputOf(tile, input + (start / _groupSize * Layout.GroupBytes(_groupSize)), room) + Layout.InputSectionAt(step, room);

                // Without anything to fetch, what is there already.
                var share = (Layout.SectionAt(step + steps) - Layout.SectionAt(step)) * lines / all;
                var next = weights;
                if (fetches && group * lines < all)
                {
                    next = tile + 1 < endTile && !keepsInputs ? TileAt(tile + 1, step)
                        : isLast ? TileAt(keepsInputs ? tile + TileBlock : tile + 1, 0)
                        : TileAt(keepsInputs ? tile : firstTile, step + steps);
                    next += group * share;
                }

                if (room == LargeGroup)
                {
                    TKernels.Eight(weights, x, 0, steps, step == 0, sums, next, lines / 2);
                    TKernels.Eight(weights, x, 1, steps, step == 0, sums + (2 * LargeGroup * _width), next + (share / 2), lines / 2);
                }
                else if (room == 4)
                {
                    TKernels.Four(weights, x, steps, step == 0, sums, next, lines);
                }
                else if (room == 2)
                {
                    TKernels.Two(weights, x, steps, step == 0, sums, next, lines);
                }
                else
                {
                    TKernels.One(weights, x, steps, step == 0, sums);
                }

                for (var member = 0; isLast && member < members; member++)
                {
                    Finish(tile, sums + (member * _width), room * _width, output + ((long)(start + member) * Layout.Height));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* TileAt(int tile, int step) => Memory.Pointer + (tile * Layout.TileBytes) + Layout.SectionAt(step);

    /// <summary>A tile's input in a group; the same for all but those of a block-diagonal matrix.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* InputOf(int tile, byte* group, int room)
        => Layout.Blocks == 1 ? group : group + (tile / Layout.TilesPerBlock * Layout.InputBlockBytes(room));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Finish(int tile, float* sums, int stride, float* output)
    {
        var (block, tileInBlock) = Layout.Blocks == 1 ? (0, tile) : Math.DivRem(tile, Layout.TilesPerBlock);
        var firstRow = tileInBlock * Layout.Shape.RowsPerTile;
        var rows = Layout.Rows - firstRow;
        output += ((long)block * Layout.Rows) + firstRow;
        if (rows >= Layout.Shape.RowsPerTile)
        {
            TKernels.Finish(sums, stride, output);
            return;
        }

        var all = stackalloc float[Layout.Shape.RowsPerTile];
        TKernels.Finish(sums, stride, all);
        new ReadOnlySpan<float>(all, rows).CopyTo(new Span<float>(output, rows));
    }
}
