using System.Runtime.CompilerServices;
using Armor.Core.Pruning.SparseCores.Lanes;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The exact sweep over all groups of four of several row blocks in one strip of columns: each group in turn gets the best of the six masks with
/// its optimal values, all else held still, and the residual follows at once (block coordinate descent, one pass).
/// </summary>
/// <remarks>
/// A group has to wait for the one before it, so the same group of many blocks of A is solved at once, one block a lane: they are independent, and
/// share Q and the inverse factors of the 2×2 systems. Rows go in panels of eight, so that T is read once for eight rows.
/// </remarks>
internal static unsafe class SweepKernel<TVector, TLanes>
    where TVector : unmanaged
    where TLanes : struct, ILanes<TVector>
{
    private const int PanelRows = 8;

    // Columns whose changes are passed on to the rest of the row together.
    private const int Together = 16;

    // Depth of a product whose left factor stays in the first-level cache.
    private const int ProductDepth = 32;

    /// <summary>Floats of scratch memory that <see cref="Sweep"/> needs; it must be zero at first.</summary>
    public static long ScratchLength(SweepTask task) =>
        ((2L * task.Output.PaddedRows) + (4 * PanelRows)) * task.Width * TLanes.Count + (Together * TLanes.Count);

    /// <summary>Sweeps one strip of the row blocks of one group of lanes.</summary>
    public static void Sweep(SweepTask task, int group, int strip, float* scratch)
    {
        AnnealingNoise noise = task.Noise;
        int lanes = TLanes.Count;
        int width = task.Width;
        int line = width * lanes;
        int b = task.Output.BlockRows;
        int tile = 4 * lanes * task.Output.PaddedRows;
        float* x = scratch;
        float* t = x + ((long)task.Output.PaddedRows * line);
        float* y = t + ((long)task.Output.PaddedRows * line);
        float* g = y + (PanelRows * line);
        float* s = g + (PanelRows * line);
        float* change = s + (PanelRows * line);
        float* delta = change + (PanelRows * line);

        int valid = Math.Min(lanes, task.Output.Blocks - (group * lanes));
        long firstRow = (long)group * lanes * b;
        float* source = task.X + (firstRow * task.StrideX) + ((long)strip * width);
        float* core = task.S + (firstRow * task.StrideS) + ((long)strip * width);
        float* q = task.Q + ((long)strip * width * width);
        float* packedQ = task.PackedQ + ((long)strip * width * width);
        float* m = task.M is null ? null : task.M + ((long)strip * width * task.BlockM);
        float* a = task.Output.A is null ? null : task.Output.A + (group * task.Output.PackLength);
        float* p = task.Output.P is null ? null : task.Output.P + (group * task.Output.PackLength);
        float* coefficients = task.Coefficients + ((long)strip * (width / 4) * MaskPairs.CoefficientsPerGroup);
        TVector random = noise.Relative > 0 ? StartRandom(Seeds.Mix(task.Seed, (ulong)(task.FirstColumn + ((long)strip * width))), group * lanes, delta) : default;

        if (a is not null)
        {
            for (int row = 0; row < b; row++)
            {
                LaneTiles.Load(source + (row * task.StrideX), b * task.StrideX, valid, lanes, width, x + (row * 4 * lanes), tile);
            }
        }

        if (!task.FromChanges)
        {
            for (int top = 0; top < b; top += PanelRows)
            {
                LoadPanel(task, core, task.StrideS, valid, top, s);
                for (int row = top; row < Math.Min(b, top + PanelRows); row += 4)
                {
                    for (int c = 0; c < width; c += 4)
                    {
                        LaneProducts<TVector, TLanes>.Shared(
                            s + ((row - top) * line), line, packedQ + (c * width), width, t + ((long)c / 4 * tile) + (row * 4 * lanes), 4 * lanes);
                    }
                }
            }
        }
        else if (b > PanelRows)
        {
            new Span<float>(t, task.Output.PaddedRows * line).Clear();
        }

        for (int top = 0; top < b; top += PanelRows)
        {
            int height = Math.Min(PanelRows, b - top);

            // Aᵀ·X, or X itself.
            float* projected = m is null ? g : y;
            if (a is null)
            {
                LoadPanel(task, source, task.StrideX, valid, top, projected);
            }
            else
            {
                new Span<float>(projected, PanelRows * line).Clear();
                AddPanel(task, a, top, height, x, tile, b, projected);
            }

            // G = Aᵀ·X·M − P·T
            if (m is not null)
            {
                for (int row = 0; row < height; row += 4)
                {
                    for (int c = 0; c < width; c += 4)
                    {
                        int block = c / task.BlockM * task.BlockM;
                        LaneProducts<TVector, TLanes>.Shared(
                            y + (row * line) + (block * lanes), line, m + (c * task.BlockM), task.BlockM, g + (row * line) + (c * lanes), line);
                    }
                }
            }

            if (p is not null)
            {
                AddPanel(task, p, top, height, t, tile, task.FromChanges ? top : b, g);
            }
            else if (!task.FromChanges)
            {
                SubtractTiles(t, tile, height, width, g);
            }

            LoadPanel(task, core, task.StrideS, valid, top, s);
            for (int r = 0; r < height; r++)
            {
                int row = top + r;
                float* residual = g + (r * line);
                if (p is not null)
                {
                    AddRowsAbove(p, b, top, r, change, width, residual);
                }

                long at = ((long)group * b * lanes) + (row * lanes);
                random = SweepRow(
                    residual, s + (r * line), change + (r * line), delta, q, coefficients, width,
                    TLanes.Load(task.Output.Inverse + at), TLanes.Load(task.Output.Floor + at), noise, random, p is null);
                if (top + PanelRows < b)
                {
                    AddToTiles(change + (r * line), width, t + (row * 4 * lanes), tile);
                }

                LaneTiles.Store(s + (r * line), lanes, width, core + (row * task.StrideS), b * task.StrideS, valid);
            }
        }
    }

    private static TVector StartRandom(ulong seed, int firstBlock, float* buffer)
    {
        for (int lane = 0; lane < TLanes.Count; lane++)
        {
            ((uint*)buffer)[lane] = (uint)(Seeds.Mix(seed, (ulong)(firstBlock + lane)) >> 32) | 1;
        }

        return TLanes.Load(buffer);
    }

    private static void LoadPanel(SweepTask task, float* source, long stride, int valid, int top, float* target)
    {
        int lanes = TLanes.Count;
        for (int row = top; row < Math.Min(task.Output.BlockRows, top + PanelRows); row++)
        {
            LaneTiles.Load(
                source + (row * stride), task.Output.BlockRows * stride, valid, lanes, task.Width, target + ((row - top) * task.Width * lanes), 4 * lanes);
        }
    }

    // C[panel] += pack[panel, ..depth]·tiles
    private static void AddPanel(SweepTask task, float* pack, int top, int height, float* tiles, int tile, int depth, float* c)
    {
        int lanes = TLanes.Count;
        int line = task.Width * lanes;
        for (int k = 0; k < depth; k += ProductDepth)
        {
            int part = Math.Min(ProductDepth, depth - k);
            for (int column = 0; column < task.Width; column += 4)
            {
                float* right = tiles + ((long)column / 4 * tile) + (k * 4 * lanes);
                for (int row = 0; row < height; row += 4)
                {
                    float* left = pack + (((long)(top + row) / 4 * task.Output.BlockRows) + k) * 4 * lanes;
                    LaneProducts<TVector, TLanes>.AddOwn(left, right, part, c + (row * line) + (column * lanes), line);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SubtractTiles(float* t, int tile, int height, int width, float* g)
    {
        int lanes = TLanes.Count;
        for (int row = 0; row < height; row++)
        {
            for (int column = 0; column < width; column++, g += lanes)
            {
                float* line = t + ((long)column / 4 * tile) + (row * 4 * lanes) + (column % 4 * lanes);
                TLanes.Store(TLanes.Subtract(TLanes.Load(g), TLanes.Load(line)), g);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddToTiles(float* change, int width, float* t, int tile)
    {
        int lanes = TLanes.Count;
        for (int column = 0; column < width; column += 4, t += tile)
        {
            for (int x = 0; x < 4; x++, change += lanes)
            {
                float* entry = t + (x * lanes);
                TLanes.Store(TLanes.Add(TLanes.Load(entry), TLanes.Load(change)), entry);
            }
        }
    }

    // The residual of row r of a panel follows the changes of the rows above it: G[r] −= P[r, above]·Δ[above].
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddRowsAbove(float* pack, int depth, int top, int r, float* change, int width, float* residual)
    {
        int lanes = TLanes.Count;
        int line = width * lanes;
        float* p = pack + ((((long)(top + r) / 4 * depth) + top) * 4 * lanes) + (r % 4 * lanes);
        for (int column = 0; column < width; column += 4)
        {
            float* c = residual + (column * lanes);
            float* above = change + (column * lanes);
            TVector c0 = TLanes.Load(c);
            TVector c1 = TLanes.Load(c + lanes);
            TVector c2 = TLanes.Load(c + (2 * lanes));
            TVector c3 = TLanes.Load(c + (3 * lanes));
            for (int k = 0; k < r; k++, above += line)
            {
                TVector factor = TLanes.Load(p + (k * 4 * lanes));
                c0 = TLanes.MultiplyAdd(factor, TLanes.Load(above), c0);
                c1 = TLanes.MultiplyAdd(factor, TLanes.Load(above + lanes), c1);
                c2 = TLanes.MultiplyAdd(factor, TLanes.Load(above + (2 * lanes)), c2);
                c3 = TLanes.MultiplyAdd(factor, TLanes.Load(above + (3 * lanes)), c3);
            }

            TLanes.Store(c0, c);
            TLanes.Store(c1, c + lanes);
            TLanes.Store(c2, c + (2 * lanes));
            TLanes.Store(c3, c + (3 * lanes));
        }
    }

    // One pass over the groups of one row of every lane. change becomes Δs·Q: all that later groups and rows need to know.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static TVector SweepRow(
        float* g, float* s, float* change, float* delta, float* q, float* coefficients, int width,
        TVector inverse, TVector floor, AnnealingNoise noise, TVector random, bool onlyLater)
    {
        int lanes = TLanes.Count;
        bool noisy = noise.Relative > 0;
        TVector relative = TLanes.Create(noise.Relative / 65536);
        TVector bound = TLanes.Multiply(TLanes.Create(noise.Bound / 65536), inverse);
        TVector zero = TLanes.Create(0);
        new Span<float>(change, width * lanes).Clear();
        for (int first = 0; first < width; first += Together)
        {
            int end = Math.Min(width, first + Together);
            for (int c = first; c < end; c += 4, coefficients += MaskPairs.CoefficientsPerGroup)
            {
                float* own = q + ((long)c * width) + c;
                float* kept = s + (c * lanes);
                TVector s0 = TLanes.Load(kept);
                TVector s1 = TLanes.Load(kept + lanes);
                TVector s2 = TLanes.Load(kept + (2 * lanes));
                TVector s3 = TLanes.Load(kept + (3 * lanes));

                // f = g/P_rr + Q_cc·s_c − (Δs·Q)[c..]: what the two kept values have to explain.
                TVector f0 = TLanes.Subtract(Explained(g + (c * lanes), own, inverse, s0, s1, s2, s3), TLanes.Load(change + (c * lanes)));
                TVector f1 = TLanes.Subtract(
                    Explained(g + ((c + 1) * lanes), own + width, inverse, s0, s1, s2, s3), TLanes.Load(change + ((c + 1) * lanes)));
                TVector f2 = TLanes.Subtract(
                    Explained(g + ((c + 2) * lanes), own + (2 * width), inverse, s0, s1, s2, s3), TLanes.Load(change + ((c + 2) * lanes)));
                TVector f3 = TLanes.Subtract(
                    Explained(g + ((c + 3) * lanes), own + (3 * width), inverse, s0, s1, s2, s3), TLanes.Load(change + ((c + 3) * lanes)));

                TVector gain0 = Gain(coefficients, f0, f1, out TVector a0, out TVector b0);
                TVector gain1 = Gain(coefficients + 1, f0, f2, out TVector a1, out TVector b1);
                TVector gain2 = Gain(coefficients + 2, f0, f3, out TVector a2, out TVector b2);
                TVector gain3 = Gain(coefficients + 3, f1, f2, out TVector a3, out TVector b3);
                TVector gain4 = Gain(coefficients + 4, f1, f3, out TVector a4, out TVector b4);
                TVector gain5 = Gain(coefficients + 5, f2, f3, out TVector a5, out TVector b5);
                if (noisy)
                {
                    random = TLanes.NextRandom(random);
                    gain0 = Disturbed(gain0, relative, bound, TLanes.LowBits(random));
                    gain1 = Disturbed(gain1, relative, bound, TLanes.HighBits(random));
                    random = TLanes.NextRandom(random);
                    gain2 = Disturbed(gain2, relative, bound, TLanes.LowBits(random));
                    gain3 = Disturbed(gain3, relative, bound, TLanes.HighBits(random));
                    random = TLanes.NextRandom(random);
                    gain4 = Disturbed(gain4, relative, bound, TLanes.LowBits(random));
                    gain5 = Disturbed(gain5, relative, bound, TLanes.HighBits(random));
                }

                // The first of the greatest wins; where the row is dead or nothing is a number, all stays as it is.
                TVector better = TLanes.Greater(gain0, floor);
                TVector best = TLanes.Select(better, gain0, floor);
                TVector n0 = TLanes.Select(better, a0, s0);
                TVector n1 = TLanes.Select(better, b0, s1);
                TVector n2 = TLanes.Select(better, zero, s2);
                TVector n3 = TLanes.Select(better, zero, s3);

                better = TLanes.Greater(gain1, best);
                best = TLanes.Select(better, gain1, best);
                n0 = TLanes.Select(better, a1, n0);
                n1 = TLanes.Select(better, zero, n1);
                n2 = TLanes.Select(better, b1, n2);
                n3 = TLanes.Select(better, zero, n3);

                better = TLanes.Greater(gain2, best);
                best = TLanes.Select(better, gain2, best);
                n0 = TLanes.Select(better, a2, n0);
                n1 = TLanes.Select(better, zero, n1);
                n2 = TLanes.Select(better, zero, n2);
                n3 = TLanes.Select(better, b2, n3);

                better = TLanes.Greater(gain3, best);
                best = TLanes.Select(better, gain3, best);
                n0 = TLanes.Select(better, zero, n0);
                n1 = TLanes.Select(better, a3, n1);
                n2 = TLanes.Select(better, b3, n2);
                n3 = TLanes.Select(better, zero, n3);

                better = TLanes.Greater(gain4, best);
                best = TLanes.Select(better, gain4, best);
                n0 = TLanes.Select(better, zero, n0);
                n1 = TLanes.Select(better, a4, n1);
                n2 = TLanes.Select(better, zero, n2);
                n3 = TLanes.Select(better, b4, n3);

                better = TLanes.Greater(gain5, best);
                n0 = TLanes.Select(better, zero, n0);
                n1 = TLanes.Select(better, zero, n1);
                n2 = TLanes.Select(better, a5, n2);
                n3 = TLanes.Select(better, b5, n3);

                TLanes.Store(n0, kept);
                TLanes.Store(n1, kept + lanes);
                TLanes.Store(n2, kept + (2 * lanes));
                TLanes.Store(n3, kept + (3 * lanes));
                TVector d0 = TLanes.Subtract(n0, s0);
                TVector d1 = TLanes.Subtract(n1, s1);
                TVector d2 = TLanes.Subtract(n2, s2);
                TVector d3 = TLanes.Subtract(n3, s3);
                float* moved = delta + ((c - first) * lanes);
                TLanes.Store(d0, moved);
                TLanes.Store(d1, moved + lanes);
                TLanes.Store(d2, moved + (2 * lanes));
                TLanes.Store(d3, moved + (3 * lanes));

                float* row = q + ((long)c * width);
                for (int column = onlyLater ? c + 4 : first; column < end; column++)
                {
                    float* target = change + (column * lanes);
                    TVector value = TLanes.MultiplyAdd(d0, TLanes.Create(row[column]), TLanes.Load(target));
                    value = TLanes.MultiplyAdd(d1, TLanes.Create(row[width + column]), value);
                    value = TLanes.MultiplyAdd(d2, TLanes.Create(row[(2 * width) + column]), value);
                    TLanes.Store(TLanes.MultiplyAdd(d3, TLanes.Create(row[(3 * width) + column]), value), target);
                }
            }

            float* rows = q + ((long)first * width);
            if (!onlyLater)
            {
                LaneProducts<TVector, TLanes>.AddRow(delta, rows, width, end - first, change, 0, first);
            }

            LaneProducts<TVector, TLanes>.AddRow(delta, rows, width, end - first, change, end, width);
        }

        return random;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Explained(float* g, float* q, TVector inverse, TVector s0, TVector s1, TVector s2, TVector s3)
    {
        TVector f = TLanes.MultiplyAdd(TLanes.Create(q[0]), s0, TLanes.Multiply(TLanes.Load(g), inverse));
        f = TLanes.MultiplyAdd(TLanes.Create(q[1]), s1, f);
        f = TLanes.MultiplyAdd(TLanes.Create(q[2]), s2, f);
        return TLanes.MultiplyAdd(TLanes.Create(q[3]), s3, f);
    }

    // The kept values of one mask and what they take from the loss.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Gain(float* coefficients, TVector fa, TVector fb, out TVector a, out TVector b)
    {
        TVector aa = TLanes.Create(coefficients[0]);
        TVector ba = TLanes.Create(coefficients[MaskPairs.Count]);
        TVector bb = TLanes.Create(coefficients[2 * MaskPairs.Count]);
        TVector ya = TLanes.Multiply(aa, fa);
        TVector yb = TLanes.MultiplyAdd(ba, fa, TLanes.Multiply(bb, fb));
        a = TLanes.MultiplyAdd(aa, ya, TLanes.Multiply(ba, yb));
        b = TLanes.Multiply(bb, yb);
        return TLanes.MultiplyAdd(ya, ya, TLanes.Multiply(yb, yb));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Disturbed(TVector gain, TVector relative, TVector bound, TVector random) =>
        TLanes.Subtract(gain, TLanes.Multiply(TLanes.Min(TLanes.Multiply(relative, gain), bound), random));
}
