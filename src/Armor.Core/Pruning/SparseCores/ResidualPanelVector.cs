using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>The product R − Pᵀ·T for eight rows at once, the rows' sums held in registers.</summary>
internal static unsafe class ResidualPanelVector
{
    /// <summary>Fills whole vectors of columns of eight rows and returns the first column that is left to do.</summary>
    /// <param name="r">R, eight rows of the given width.</param>
    /// <param name="t">T [rows, width].</param>
    /// <param name="p">P from the panel's first column on, row stride <paramref name="rows"/>.</param>
    /// <param name="rows">b_A.</param>
    /// <param name="width">Columns.</param>
    /// <param name="g">The result, eight rows of the given width.</param>
    public static int Full(float* r, float* t, float* p, int rows, int width, float* g)
    {
        int column = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            for (; column + 16 <= width; column += 16)
            {
                Columns16(r + column, t + column, p, rows, width, g + column);
            }
        }

        if (Vector256.IsHardwareAccelerated)
        {
            for (; column + 8 <= width; column += 8)
            {
                Columns8(r + column, t + column, p, rows, width, g + column);
            }
        }

        return column;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Columns16(float* r, float* t, float* p, int rows, int width, float* g)
    {
        Vector512<float> r0 = Vector512.Load(r);
        Vector512<float> r1 = Vector512.Load(r + width);
        Vector512<float> r2 = Vector512.Load(r + (2 * width));
        Vector512<float> r3 = Vector512.Load(r + (3 * width));
        Vector512<float> r4 = Vector512.Load(r + (4 * width));
        Vector512<float> r5 = Vector512.Load(r + (5 * width));
        Vector512<float> r6 = Vector512.Load(r + (6 * width));
        Vector512<float> r7 = Vector512.Load(r + (7 * width));
        for (int k = 0; k < rows; k++, t += width, p += rows)
        {
            Vector512<float> line = -Vector512.Load(t);
            r0 = Vector512.MultiplyAddEstimate(Vector512.Create(p[0]), line, r0);
            r1 = Vector512.MultiplyAddEstimate(Vector512.Create(p[1]), line, r1);
            r2 = Vector512.MultiplyAddEstimate(Vector512.Create(p[2]), line, r2);
            r3 = Vector512.MultiplyAddEstimate(Vector512.Create(p[3]), line, r3);
            r4 = Vector512.MultiplyAddEstimate(Vector512.Create(p[4]), line, r4);
            r5 = Vector512.MultiplyAddEstimate(Vector512.Create(p[5]), line, r5);
            r6 = Vector512.MultiplyAddEstimate(Vector512.Create(p[6]), line, r6);
            r7 = Vector512.MultiplyAddEstimate(Vector512.Create(p[7]), line, r7);
        }

        r0.Store(g);
        r1.Store(g + width);
        r2.Store(g + (2 * width));
        r3.Store(g + (3 * width));
        r4.Store(g + (4 * width));
        r5.Store(g + (5 * width));
        r6.Store(g + (6 * width));
        r7.Store(g + (7 * width));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Columns8(float* r, float* t, float* p, int rows, int width, float* g)
    {
        Vector256<float> r0 = Vector256.Load(r);
        Vector256<float> r1 = Vector256.Load(r + width);
        Vector256<float> r2 = Vector256.Load(r + (2 * width));
        Vector256<float> r3 = Vector256.Load(r + (3 * width));
        Vector256<float> r4 = Vector256.Load(r + (4 * width));
        Vector256<float> r5 = Vector256.Load(r + (5 * width));
        Vector256<float> r6 = Vector256.Load(r + (6 * width));
        Vector256<float> r7 = Vector256.Load(r + (7 * width));
        for (int k = 0; k < rows; k++, t += width, p += rows)
        {
            Vector256<float> line = -Vector256.Load(t);
            r0 = Vector256.MultiplyAddEstimate(Vector256.Create(p[0]), line, r0);
            r1 = Vector256.MultiplyAddEstimate(Vector256.Create(p[1]), line, r1);
            r2 = Vector256.MultiplyAddEstimate(Vector256.Create(p[2]), line, r2);
            r3 = Vector256.MultiplyAddEstimate(Vector256.Create(p[3]), line, r3);
            r4 = Vector256.MultiplyAddEstimate(Vector256.Create(p[4]), line, r4);
            r5 = Vector256.MultiplyAddEstimate(Vector256.Create(p[5]), line, r5);
            r6 = Vector256.MultiplyAddEstimate(Vector256.Create(p[6]), line, r6);
            r7 = Vector256.MultiplyAddEstimate(Vector256.Create(p[7]), line, r7);
        }

        r0.Store(g);
        r1.Store(g + width);
        r2.Store(g + (2 * width));
        r3.Store(g + (3 * width));
        r4.Store(g + (4 * width));
        r5.Store(g + (5 * width));
        r6.Store(g + (6 * width));
        r7.Store(g + (7 * width));
    }
}
