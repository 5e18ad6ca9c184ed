using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The exact sweep over all groups of four of one row block in one strip: each group in turn gets the best of the six masks with its optimal
/// values, all else held still, and the residual follows at once (block coordinate descent, one pass).
/// </summary>
/// <remarks>
/// Rows go in panels of eight: a panel's residual product is one small matrix product, then its rows are swept in order, each passing its change
/// on to the rows below by a rank-one update. Six masks are tried side by side in SIMD lanes.
/// </remarks>
internal static unsafe class SweepKernel
{
    private const int PanelRows = 8;

    // A row whose column of A is this much smaller than the largest carries nothing; its values would only blow up.
    private const float DeadRow = 1e-12f;

    /// <summary>Floats of scratch memory that <see cref="Sweep"/> needs for a strip of this width.</summary>
    public static int ScratchLength(int width) => (PanelRows + 1) * width;

    /// <summary>Sweeps the rows of one block of A.</summary>
    /// <param name="strip">The strip of columns.</param>
    /// <param name="firstRow">The block's first row in the weight.</param>
    /// <param name="rows">b_A.</param>
    /// <param name="p">P_i [b_A, b_A] row-major, or null for the identity of size 1.</param>
    /// <param name="noise">Annealing noise.</param>
    /// <param name="seed">Seed of this block's random numbers; used where there is noise.</param>
    /// <param name="scratch">Room for <see cref="ScratchLength"/> floats.</param>
    public static void Sweep(in SweepStrip strip, long firstRow, int rows, float* p, AnnealingNoise noise, ulong seed, float* scratch)
    {
        int width = strip.Width;
        float* panel = scratch;
        float* change = scratch + (PanelRows * width);
        Vector256<uint> random = noise.Relative > 0 ? LaneRandom.Start(seed) : default;
        float dead = DeadRow * LargestDiagonal(p, rows);

        for (int top = 0; top < rows; top += PanelRows)
        {
            int height = Math.Min(PanelRows, rows - top);
            ResidualPanel(strip, firstRow, rows, p, top, height, panel);
            for (int r = 0; r < height; r++)
            {
                int row = top + r;
                float diagonal = p is null ? 1 : p[((long)row * rows) + row];
                if (!(diagonal > dead))
                {
                    continue;
                }

                float* g = panel + (r * width);
                new Span<float>(change, width).Clear();
                if (!SweepRow(strip, g, 1 / diagonal, strip.S + ((firstRow + row) * strip.StrideS), change, noise, ref random))
                {
                    continue;
                }

                AddScaled(strip.T + ((firstRow + row) * width), change, 1, width);
                for (int below = r + 1; below < height; below++)
                {
                    AddScaled(panel + (below * width), change, -p![((long)row * rows) + top + below], width);
                }
            }
        }
    }

    private static float LargestDiagonal(float* p, int rows)
    {
        if (p is null)
        {
            return 1;
        }

        float largest = 0;
        for (int row = 0; row < rows; row++)
        {
            largest = Math.Max(largest, p[((long)row * rows) + row]);
        }

        return largest;
    }

    // G = R[panel] − P[panel, :]·T (P is symmetric, so its row k is read as column k).
    private static void ResidualPanel(in SweepStrip strip, long firstRow, int rows, float* p, int top, int height, float* g)
    {
        int width = strip.Width;
        float* r = strip.R + ((firstRow + top) * width);
        float* t = strip.T + (firstRow * width);
        int column = 0;
        if (height == PanelRows && p is not null)
        {
            column = ResidualPanelVector.Full(r, t, p + top, rows, width, g);
        }

        if (column == width)
        {
            return;
        }

        for (int i = 0; i < height; i++)
        {
            float* line = g + (i * width) + column;
            new ReadOnlySpan<float>(r + (i * width) + column, width - column).CopyTo(new Span<float>(line, width - column));
            for (int k = 0; k < rows; k++)
            {
                AddScaled(line, t + ((long)k * width) + column, p is null ? -1 : -p[((long)k * rows) + top + i], width - column);
            }
        }
    }

    // One pass over the groups of one row. change (Δs·Q so far) is all that later groups need to know. False where nothing moved.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool SweepRow(
        in SweepStrip strip, float* g, float inverse, float* s, float* change, AnnealingNoise noise, ref Vector256<uint> randomState)
    {
        int width = strip.Width;
        float* q = strip.Q;
        float* kept = stackalloc float[4];
        bool moved = false;
        bool noisy = noise.Relative > 0;
        Vector256<uint> random = randomState;
        Vector256<float> relative = Vector256.Create(noise.Relative);
        Vector256<float> bound = Vector256.Create(noise.Bound * inverse);
        Vector128<float> scale = Vector128.Create(inverse);
        for (int c = 0; c < width; c += 4)
        {
            float* block = q + ((long)c * width);
            Vector128<float> old = Vector128.Load(s + c);

            // f = g/P_rr − (Δs·Q)[c..] + Q_cc·s_c: what the two kept values have to explain.
            Vector128<float> own = Vector128.Load(block + c) * Vector128.Shuffle(old, Vector128.Create(0, 0, 0, 0));
            own = Vector128.MultiplyAddEstimate(Vector128.Load(block + width + c), Vector128.Shuffle(old, Vector128.Create(1, 1, 1, 1)), own);
            Vector128<float> own2 = Vector128.Load(block + (2 * width) + c) * Vector128.Shuffle(old, Vector128.Create(2, 2, 2, 2));
            own2 = Vector128.MultiplyAddEstimate(Vector128.Load(block + (3 * width) + c), Vector128.Shuffle(old, Vector128.Create(3, 3, 3, 3)), own2);
            Vector128<float> f = Vector128.MultiplyAddEstimate(Vector128.Load(g + c), scale, own + own2 - Vector128.Load(change + c));

            Vector256<float> both = Vector256.Create(f, f);
            Vector256<float> fa = Vector256.Shuffle(both, Vector256.Create(0, 0, 0, 1, 5, 6, 4, 4));
            Vector256<float> fb = Vector256.Shuffle(both, Vector256.Create(1, 2, 3, 2, 7, 7, 4, 4));
            float* coefficients = strip.Coefficients + (c / 4 * MaskPairs.CoefficientsPerGroup);
            Vector256<float> ab = Vector256.Load(coefficients + MaskPairs.Lanes);
            Vector256<float> a = Vector256.MultiplyAddEstimate(Vector256.Load(coefficients), fa, ab * fb);
            Vector256<float> b = Vector256.MultiplyAddEstimate(Vector256.Load(coefficients + (2 * MaskPairs.Lanes)), fb, ab * fa);
            Vector256<float> gain = Vector256.MultiplyAddEstimate(a, fa, b * fb);
            if (noisy)
            {
                random = LaneRandom.Next(random);
                Vector256<float> most = Vector256.Min(relative * gain, bound);
                gain -= most * LaneRandom.Uniform(random);
            }

            Vector256<float> best = Vector256.Max(gain, Vector256.Shuffle(gain, Vector256.Create(4, 5, 6, 7, 0, 1, 2, 3)));
            best = Vector256.Max(best, Vector256.Shuffle(best, Vector256.Create(2, 3, 0, 1, 6, 7, 4, 5)));
            best = Vector256.Max(best, Vector256.Shuffle(best, Vector256.Create(1, 0, 3, 2, 5, 4, 7, 6)));
            int mask = BitOperations.TrailingZeroCount(Vector256.Equals(gain, best).ExtractMostSignificantBits() | 0x100u);
            if (mask >= MaskPairs.Count)
            {
                continue; // not a number: leave the group as it is
            }

            Vector128<float>.Zero.Store(kept);
            kept[MaskPairs.First[mask]] = a[mask];
            kept[MaskPairs.Second[mask]] = b[mask];
            Vector128<float> now = Vector128.Load(kept);
            Vector128<float> delta = now - old;
            if (delta == Vector128<float>.Zero)
            {
                continue;
            }

            moved = true;
            now.Store(s + c);
            AddFourRows(change, block, width, delta);
        }

        randomState = random;
        return moved;
    }

    // change += Δ·Q[c .. c+4, :]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddFourRows(float* change, float* q, int width, Vector128<float> delta)
    {
        float* q1 = q + width;
        float* q2 = q1 + width;
        float* q3 = q2 + width;
        float d0 = delta[0];
        float d1 = delta[1];
        float d2 = delta[2];
        float d3 = delta[3];
        int x = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            Vector512<float> v0 = Vector512.Create(d0);
            Vector512<float> v1 = Vector512.Create(d1);
            Vector512<float> v2 = Vector512.Create(d2);
            Vector512<float> v3 = Vector512.Create(d3);
            for (; x + 16 <= width; x += 16)
            {
                Vector512<float> y = Vector512.MultiplyAddEstimate(v0, Vector512.Load(q + x), Vector512.Load(change + x));
                y = Vector512.MultiplyAddEstimate(v1, Vector512.Load(q1 + x), y);
                y = Vector512.MultiplyAddEstimate(v2, Vector512.Load(q2 + x), y);
                Vector512.MultiplyAddEstimate(v3, Vector512.Load(q3 + x), y).Store(change + x);
            }
        }

        if (Vector256.IsHardwareAccelerated)
        {
            Vector256<float> v0 = Vector256.Create(d0);
            Vector256<float> v1 = Vector256.Create(d1);
            Vector256<float> v2 = Vector256.Create(d2);
            Vector256<float> v3 = Vector256.Create(d3);
            for (; x + 8 <= width; x += 8)
            {
                Vector256<float> y = Vector256.MultiplyAddEstimate(v0, Vector256.Load(q + x), Vector256.Load(change + x));
                y = Vector256.MultiplyAddEstimate(v1, Vector256.Load(q1 + x), y);
                y = Vector256.MultiplyAddEstimate(v2, Vector256.Load(q2 + x), y);
                Vector256.MultiplyAddEstimate(v3, Vector256.Load(q3 + x), y).Store(change + x);
            }
        }

        for (; x < width; x += 4)
        {
            Vector128<float> y = Vector128.MultiplyAddEstimate(Vector128.Create(d0), Vector128.Load(q + x), Vector128.Load(change + x));
            y = Vector128.MultiplyAddEstimate(Vector128.Create(d1), Vector128.Load(q1 + x), y);
            y = Vector128.MultiplyAddEstimate(Vector128.Create(d2), Vector128.Load(q2 + x), y);
            Vector128.MultiplyAddEstimate(Vector128.Create(d3), Vector128.Load(q3 + x), y).Store(change + x);
        }
    }

    // y += scale·x, length a multiple of four
    private static void AddScaled(float* y, float* x, float scale, int length)
    {
        int i = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            Vector512<float> factor = Vector512.Create(scale);
            for (; i + 16 <= length; i += 16)
            {
                Vector512.MultiplyAddEstimate(factor, Vector512.Load(x + i), Vector512.Load(y + i)).Store(y + i);
            }
        }

        for (; i < length; i += 4)
        {
            Vector128.MultiplyAddEstimate(Vector128.Create(scale), Vector128.Load(x + i), Vector128.Load(y + i)).Store(y + i);
        }
    }
}
