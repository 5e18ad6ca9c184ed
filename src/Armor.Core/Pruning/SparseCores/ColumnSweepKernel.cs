using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Armor.Core.Pruning.SparseCores.Lanes;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The exact sweep of <see cref="SweepKernel{TVector,TLanes}"/> for few and large blocks of P: lanes hold neighbouring columns of one block instead of the
/// same entry of many. Within a group the six masks lie side by side; what the group changes goes to the rest of the row sixteen columns at a time, what
/// a panel of rows changes to all rows below it.
/// </summary>
internal static unsafe class ColumnSweepKernel<TVector, TLanes>
    where TVector : unmanaged
    where TLanes : struct, ILanes<TVector>
{
    private const int PanelRows = 32;

    // Columns whose changes are passed on to the row together: four groups.
    private const int Together = 16;

    /// <summary>Floats of scratch memory that <see cref="Sweep"/> needs; it must be zero at first.</summary>
    public static long ScratchLength(ColumnSweepTask task, int paddedRows) => ((paddedRows + PanelRows + 2L) * task.Stride) + (2 * Together);

    /// <summary>Sweeps one block of P.</summary>
    /// <param name="task">The strip of columns.</param>
    /// <param name="p">P, row-major, rows and columns padded with zeros to a multiple of four.</param>
    /// <param name="rows">Rows of the block.</param>
    /// <param name="firstRow">The block's first row in X and S.</param>
    /// <param name="scratch">See <see cref="ScratchLength"/>.</param>
    public static void Sweep(ColumnSweepTask task, float* p, int rows, long firstRow, float* scratch)
    {
        int lanes = TLanes.Count;
        int padded = (rows + 3) / 4 * 4;
        int vectors = task.Stride / lanes;

        // [column / lanes][row][lane]: the residual of all rows, and what the panel's rows change in it: −Δs·Q.
        float* residual = scratch;
        float* panel = residual + ((long)padded * task.Stride);
        float* g = panel + ((long)PanelRows * task.Stride);
        float* moved = g + task.Stride;
        float* delta = moved + task.Stride;

        for (int row = 0; row < rows; row++)
        {
            float* source = task.X + ((firstRow + row) * task.Width);
            new ReadOnlySpan<float>(source, task.Width).CopyTo(new Span<float>(g, task.Width));
            for (int v = 0; v < vectors; v++)
            {
                TLanes.Store(TLanes.Load(g + (v * lanes)), residual + ((((long)v * padded) + row) * lanes));
            }
        }

        float dead = 0;
        for (int row = 0; row < rows; row++)
        {
            dead = Math.Max(dead, SweepOutput.DeadRow * p[((long)row * padded) + row]);
        }

        (Vector128<uint> Low, Vector128<uint> High) random = StartRandom(Seeds.Mix(Seeds.Mix(task.Seed, (ulong)task.FirstColumn), (ulong)firstRow));
        for (int top = 0; top < rows; top += PanelRows)
        {
            int height = Math.Min(PanelRows, rows - top);
            for (int r = 0; r < height; r++)
            {
                long row = top + r;
                float diagonal = p[(row * padded) + row];
                new Span<float>(moved, task.Stride).Clear();
                if (diagonal > dead)
                {
                    for (int v = 0; v < vectors; v++)
                    {
                        TLanes.Store(TLanes.Load(residual + ((((long)v * padded) + row) * lanes)), g + (v * lanes));
                    }

                    SweepRow(task, g, task.S + ((firstRow + row) * task.StrideS), moved, delta, 1 / diagonal, ref random);
                }

                for (int v = 0; v < vectors; v++)
                {
                    TLanes.Store(TLanes.Load(moved + (v * lanes)), panel + (((v * PanelRows) + r) * lanes));
                }

                AddToPanel(p + (row * padded) + top, moved, vectors, residual + (top * lanes), (long)padded * lanes, r + 1, height);
            }

            int next = top + PanelRows;
            int end = task.Reach is null || next >= rows ? padded : (task.Reach[next - 1] + 3) / 4 * 4;
            for (int v = 0; v < vectors && next < rows; v++)
            {
                LaneProducts<TVector, TLanes>.AddRow(
                    panel + (v * PanelRows * lanes), p + ((long)top * padded), padded, PanelRows, residual + ((long)v * padded * lanes), next, end);
            }
        }
    }

    private static (Vector128<uint> Low, Vector128<uint> High) StartRandom(ulong seed)
    {
        uint* states = stackalloc uint[8];
        for (int mask = 0; mask < 8; mask++)
        {
            states[mask] = (uint)(Seeds.Mix(seed, (ulong)mask) >> 32) | 1;
        }

        return (Vector128.Load(states), Vector128.Load(states + 4));
    }

    // The rows of a panel that are still to come follow a row's change at once.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddToPanel(float* p, float* moved, int vectors, float* residual, long vectorStride, int first, int end)
    {
        int lanes = TLanes.Count;
        for (int v = 0; v < vectors; v++, residual += vectorStride)
        {
            TVector change = TLanes.Load(moved + (v * lanes));
            for (int row = first; row < end; row++)
            {
                float* target = residual + (row * lanes);
                TLanes.Store(TLanes.MultiplyAdd(change, TLanes.Create(p[row]), TLanes.Load(target)), target);
            }
        }
    }

    // One pass over the groups of one row; moved becomes −Δs·Q.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SweepRow(
        ColumnSweepTask task, float* g, float* s, float* moved, float* delta, float inverse, ref (Vector128<uint> Low, Vector128<uint> High) random)
    {
        int stride = task.Stride;
        int vectors = stride / TLanes.Count;
        var noise = new MaskNoise(task.Noise, inverse);
        Vector128<float> scale = Vector128.Create(inverse);
        float* coefficients = task.Coefficients;
        for (int first = 0; first < task.Width; first += Together)
        {
            int groups = Math.Min(4, (task.Width - first) / 4);
            Vector128<float> m0 = Vector128.Load(moved + first);
            Vector128<float> m1 = Vector128.Load(moved + first + 4);
            Vector128<float> m2 = Vector128.Load(moved + first + 8);
            Vector128<float> m3 = Vector128.Load(moved + first + 12);
            float* q = task.Q + ((long)first * stride) + first;
            new Span<float>(delta, Together).Clear();

            // What a group changes goes to the groups after it within registers; m0 is that of the next group, and so on.
            for (int group = 0; group < groups; group++, coefficients += MaskPairs.CoefficientsPerGroup, q += 4 * stride)
            {
                int c = first + (4 * group);
                Vector128<float> d = SweepGroup(g + c, s + c, q + (4 * group), stride, coefficients, m0, scale, noise, delta + Together, ref random);
                d.Store(delta + (4 * group));
                Vector128<float> d0 = Vector128.Shuffle(d, Vector128.Create(0, 0, 0, 0));
                Vector128<float> d1 = Vector128.Shuffle(d, Vector128.Create(1, 1, 1, 1));
                Vector128<float> d2 = Vector128.Shuffle(d, Vector128.Create(2, 2, 2, 2));
                Vector128<float> d3 = Vector128.Shuffle(d, Vector128.Create(3, 3, 3, 3));
                float* later = q + (4 * group) + 4;
                m0 = Follow(m1, later, stride, d0, d1, d2, d3);
                m1 = group < 2 ? Follow(m2, later + 4, stride, d0, d1, d2, d3) : m2;
                m2 = group < 1 ? Follow(m3, later + 8, stride, d0, d1, d2, d3) : m3;
            }

            // The next columns first: the next groups wait for them.
            int start = (first + Together) / TLanes.Count;
            PassOn(delta, task.Q + ((long)first * stride), stride, 4 * groups, moved, start, vectors);
            PassOn(delta, task.Q + ((long)first * stride), stride, 4 * groups, moved, 0, start);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Follow(
        Vector128<float> moved, float* q, int stride, Vector128<float> d0, Vector128<float> d1, Vector128<float> d2, Vector128<float> d3)
    {
        Vector128<float> one = Vector128.MultiplyAddEstimate(d1, Vector128.Load(q + stride), d0 * Vector128.Load(q));
        Vector128<float> two = Vector128.MultiplyAddEstimate(d3, Vector128.Load(q + (3 * stride)), d2 * Vector128.Load(q + (2 * stride)));
        return moved + (one + two);
    }

    // moved += delta·Q for some vectors of columns.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PassOn(float* delta, float* q, int stride, int depth, float* moved, int from, int to)
    {
        int lanes = TLanes.Count;
        int v = from;
        for (; v + 2 <= to; v += 2)
        {
            float* target = moved + (v * lanes);
            float* row = q + (v * lanes);
            TVector a0 = TLanes.Load(target);
            TVector b0 = TLanes.Load(target + lanes);
            TVector a1 = TLanes.Create(0);
            TVector b1 = a1;
            for (int k = 0; k < depth; k += 2, row += 2 * stride)
            {
                TVector even = TLanes.Create(delta[k]);
                TVector odd = TLanes.Create(delta[k + 1]);
                a0 = TLanes.MultiplyAdd(even, TLanes.Load(row), a0);
                b0 = TLanes.MultiplyAdd(even, TLanes.Load(row + lanes), b0);
                a1 = TLanes.MultiplyAdd(odd, TLanes.Load(row + stride), a1);
                b1 = TLanes.MultiplyAdd(odd, TLanes.Load(row + stride + lanes), b1);
            }

            TLanes.Store(TLanes.Add(a0, a1), target);
            TLanes.Store(TLanes.Add(b0, b1), target + lanes);
        }

        for (; v < to; v++)
        {
            float* target = moved + (v * lanes);
            float* row = q + (v * lanes);
            TVector a0 = TLanes.Load(target);
            TVector a1 = TLanes.Create(0);
            for (int k = 0; k < depth; k += 2, row += 2 * stride)
            {
                a0 = TLanes.MultiplyAdd(TLanes.Create(delta[k]), TLanes.Load(row), a0);
                a1 = TLanes.MultiplyAdd(TLanes.Create(delta[k + 1]), TLanes.Load(row + stride), a1);
            }

            TLanes.Store(TLanes.Add(a0, a1), target);
        }
    }

    // Gives one group the best of the six masks; returns old − new.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> SweepGroup(
        float* g, float* s, float* q, int stride, float* coefficients, Vector128<float> moved, Vector128<float> scale, MaskNoise noise, float* values,
        ref (Vector128<uint> Low, Vector128<uint> High) random)
    {
        // f = g/P_rr + Q_cc·s_c − (Δs·Q)[c..]: what the two kept values have to explain.
        Vector128<float> old = Vector128.Load(s);
        Vector128<float> own = Follow(Vector128<float>.Zero, q, stride, Vector128.Create(s[0]), Vector128.Create(s[1]), Vector128.Create(s[2]), Vector128.Create(s[3]));
        Vector128<float> f = Vector128.MultiplyAddEstimate(Vector128.Load(g), scale, own) + moved;

        // Masks 0 to 3, and 4, 5 with two that never win.
        Vector128<float> gainLow = Gain(
            coefficients, Vector128.Shuffle(f, Vector128.Create(0, 0, 0, 1)), Vector128.Shuffle(f, Vector128.Create(1, 2, 3, 2)),
            out Vector128<float> aLow, out Vector128<float> bLow);
        Vector128<float> gainHigh = Gain(
            coefficients + 4, Vector128.Shuffle(f, Vector128.Create(1, 2, 2, 2)), Vector128.Shuffle(f, Vector128.Create(3, 3, 3, 3)),
            out Vector128<float> aHigh, out Vector128<float> bHigh);
        if (noise.Any)
        {
            gainLow = noise.Disturb(gainLow, ref random.Low);
            gainHigh = noise.Disturb(gainHigh, ref random.High);
        }

        gainHigh = Vector128.ConditionalSelect(Vector128.Create(-1, -1, 0, 0).AsSingle(), gainHigh, Vector128.Create(float.NegativeInfinity));
        Vector128<float> most = Vector128.MaxNative(gainLow, gainHigh);
        most = Vector128.MaxNative(most, Vector128.Shuffle(most, Vector128.Create(2, 3, 0, 1)));
        most = Vector128.MaxNative(most, Vector128.Shuffle(most, Vector128.Create(1, 0, 3, 2)));
        uint winners = Vector128.Equals(gainLow, most).ExtractMostSignificantBits()
            | (Vector128.Equals(gainHigh, most).ExtractMostSignificantBits() << 4);
        int mask = BitOperations.TrailingZeroCount(winners);
        if (mask >= MaskPairs.Count)
        {
            // Nothing is a number: all stays as it is.
            return Vector128<float>.Zero;
        }

        aLow.Store(values);
        aHigh.Store(values + 4);
        bLow.Store(values + 8);
        bHigh.Store(values + 12);
        Vector128<float> now = (Vector128.Create(values[mask]) & Place(First, mask)) | (Vector128.Create(values[8 + mask]) & Place(Second, mask));
        now.Store(s);
        return old - now;
    }

    // The kept values of four masks, and what they take from the loss.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Gain(float* coefficients, Vector128<float> fa, Vector128<float> fb, out Vector128<float> a, out Vector128<float> b)
    {
        Vector128<float> aa = Vector128.Load(coefficients);
        Vector128<float> ba = Vector128.Load(coefficients + MaskPairs.Count);
        Vector128<float> bb = Vector128.Load(coefficients + (2 * MaskPairs.Count));
        Vector128<float> ya = aa * fa;
        Vector128<float> yb = Vector128.MultiplyAddEstimate(ba, fa, bb * fb);
        a = Vector128.MultiplyAddEstimate(aa, ya, ba * yb);
        b = bb * yb;
        return Vector128.MultiplyAddEstimate(ya, ya, yb * yb);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Place(ReadOnlySpan<int> places, int mask) =>
        Vector128.LoadUnsafe(ref MemoryMarshal.GetReference(places), (nuint)(4 * mask)).AsSingle();

    // Where the first and the second kept value of each mask go, see MaskPairs.
    private static ReadOnlySpan<int> First => [-1, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0];

    private static ReadOnlySpan<int> Second => [0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, -1];

    // Bounded noise on the gains, one xorshift32 generator (Marsaglia 2003) a mask.
    private readonly struct MaskNoise(AnnealingNoise noise, float inverse)
    {
        private readonly Vector128<float> relative = Vector128.Create(noise.Relative / 65536);
        private readonly Vector128<float> bound = Vector128.Create(noise.Bound / 65536 * inverse);

        public bool Any { get; } = noise.Relative > 0;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector128<float> Disturb(Vector128<float> gain, ref Vector128<uint> state)
        {
            Vector128<uint> bits = state;
            bits ^= bits << 13;
            bits ^= bits >> 17;
            bits ^= bits << 5;
            state = bits;
            return gain - (Vector128.MinNative(relative * gain, bound) * Vector128.ConvertToSingle((bits >> 16).AsInt32()));
        }
    }
}
