using System.Runtime.Intrinsics;

namespace Armor.Core.Pruning.SparseCores.Patterns;

/// <summary>
/// The exact sweep for any pattern, over the groups of one row block in one strip: each group in turn gets the best of all its masks with optimal
/// values, all else held still, and the residual follows at once.
/// </summary>
internal static unsafe class PatternSweepKernel
{
    /// <summary>Floats of scratch memory for a strip of this width.</summary>
    public static int ScratchLength(int width) => 2 * width;

    /// <summary>Sweeps the rows of one block of A.</summary>
    /// <param name="strip">The strip of columns.</param>
    /// <param name="firstRow">The block's first row in the weight.</param>
    /// <param name="rows">b_A.</param>
    /// <param name="p">P_i [b_A, b_A] row-major, or null for the identity of size 1.</param>
    /// <param name="noise">Annealing noise.</param>
    /// <param name="seed">Seed of this block's random numbers.</param>
    /// <param name="scratch">Room for <see cref="ScratchLength"/> floats.</param>
    public static void Sweep(in PatternStrip strip, long firstRow, int rows, float* p, AnnealingNoise noise, ulong seed, float* scratch)
    {
        int width = strip.Width;
        float* g = scratch;
        float* change = scratch + width;
        float* t = strip.T + (firstRow * width);
        float one = 1;
        float dead = SweepOutput.DeadRow * LargestDiagonal(p, rows);
        Vector256<float> random = GroupChoice.StartRandom(seed);
        for (int row = 0; row < rows; row++)
        {
            float* weights = p is null ? &one : p + ((long)row * rows);
            float diagonal = weights[row];
            if (!(diagonal > dead))
            {
                continue;
            }

            // G = R[row] − P[row, :]·T: what is still to explain, seen through the row's column of A.
            new ReadOnlySpan<float>(strip.R + ((firstRow + row) * width), width).CopyTo(new Span<float>(g, width));
            AddRows(g, weights, -1, rows, t, width);
            new Span<float>(change, width).Clear();
            if (SweepRow(strip, g, 1 / diagonal, strip.S + ((firstRow + row) * strip.StrideS), change, noise, ref random))
            {
                AddRows(t + ((long)row * width), &one, 1, 1, change, width);
            }
        }
    }

    private static float LargestDiagonal(float* p, int rows)
    {
        float largest = p is null ? 1 : 0;
        for (int row = 0; p is not null && row < rows; row++)
        {
            largest = Math.Max(largest, p[((long)row * rows) + row]);
        }

        return largest;
    }

    // One pass over the groups of one row. change (Δs·Q so far) is all that later groups need to know. False where nothing moved.
    private static bool SweepRow(
        in PatternStrip strip, float* g, float inverse, float* s, float* change, AnnealingNoise noise, ref Vector256<float> random)
    {
        MaskTable table = strip.Masks;
        int group = table.Pattern.Group;
        float* f = stackalloc float[GroupChoice.PaddedGroup];
        float* gradient = stackalloc float[GroupChoice.PaddedGroup];
        float* now = stackalloc float[GroupChoice.PaddedGroup];
        float* delta = stackalloc float[GroupChoice.PaddedGroup];
        new Span<float>(f, GroupChoice.PaddedGroup).Clear();
        noise = noise with { Bound = noise.Bound * inverse };
        bool moved = false;
        float* coefficients = strip.Coefficients;
        for (int c = 0; c < strip.Width; c += group, coefficients += table.CoefficientsPerGroup)
        {
            float* q = strip.Q + ((long)c * strip.Width);

            // f = G/P_rr − (Δs·Q)[c..] + Q_cc·s_c: what the kept values have to explain.
            for (int x = 0; x < group; x++)
            {
                float own = 0;
                for (int y = 0; y < group; y++)
                {
                    own += q[((long)y * strip.Width) + c + x] * s[c + y];
                }

                gradient[x] = (g[c + x] * inverse) - change[c + x];
                f[x] = gradient[x] + own;
            }

            int mask = GroupChoice.Best(table, f, coefficients, noise, ref random, out _);
            if (mask < 0)
            {
                continue;
            }

            GroupChoice.Solve(table, mask, f, coefficients, now);
            for (int x = 0; x < group; x++)
            {
                delta[x] = now[x] - s[c + x];
            }

            // Near a singular Q the solution is damped and rounded: then what is there already may explain more.
            if (!(noise.Relative > 0) && !(Decrease(gradient, delta, group, q + c, strip.Width) > 0))
            {
                continue;
            }

            new ReadOnlySpan<float>(now, group).CopyTo(new Span<float>(s + c, group));
            moved = true;
            AddRows(change, delta, 1, group, q, strip.Width);
        }

        return moved;
    }

    // What δ takes from the loss of one group over P_rr: 2·gᵀδ − δᵀQδ.
    private static double Decrease(float* gradient, float* delta, int group, float* q, int stride)
    {
        double decrease = 0;
        for (int x = 0; x < group; x++, q += stride)
        {
            double product = 0;
            for (int y = 0; y < group; y++)
            {
                product += (double)q[y] * delta[y];
            }

            decrease += delta[x] * ((2.0 * gradient[x]) - product);
        }

        return decrease;
    }

    // y += sign · Σ weights[k]·rows[k, :]
    private static void AddRows(float* y, float* weights, float sign, int count, float* rows, int width)
    {
        int x = 0;
        for (; x + 32 <= width; x += 32)
        {
            Vector256<float> y0 = Vector256.Load(y + x);
            Vector256<float> y1 = Vector256.Load(y + x + 8);
            Vector256<float> y2 = Vector256.Load(y + x + 16);
            Vector256<float> y3 = Vector256.Load(y + x + 24);
            float* row = rows + x;
            for (int k = 0; k < count; k++, row += width)
            {
                Vector256<float> weight = Vector256.Create(sign * weights[k]);
                y0 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row), y0);
                y1 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 8), y1);
                y2 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 16), y2);
                y3 = Vector256.MultiplyAddEstimate(weight, Vector256.Load(row + 24), y3);
            }

            y0.Store(y + x);
            y1.Store(y + x + 8);
            y2.Store(y + x + 16);
            y3.Store(y + x + 24);
        }

        for (; x + 8 <= width; x += 8)
        {
            Vector256<float> sum = Vector256.Load(y + x);
            float* row = rows + x;
            for (int k = 0; k < count; k++, row += width)
            {
                sum = Vector256.MultiplyAddEstimate(Vector256.Create(sign * weights[k]), Vector256.Load(row), sum);
            }

            sum.Store(y + x);
        }

        for (; x < width; x++)
        {
            for (int k = 0; k < count; k++)
            {
                y[x] += sign * weights[k] * rows[((long)k * width) + x];
            }
        }
    }
}
