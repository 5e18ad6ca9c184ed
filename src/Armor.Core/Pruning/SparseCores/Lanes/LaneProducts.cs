using System.Runtime.CompilerServices;

namespace Armor.Core.Pruning.SparseCores.Lanes;

/// <summary>
/// Products of small matrices, one a lane. C has four rows and whole groups of four columns; column y of group c of row r is at
/// C + c·groupStride + r·rowStride + y·lanes.
/// </summary>
internal static unsafe class LaneProducts<TVector, TLanes>
    where TVector : unmanaged
    where TLanes : struct, ILanes<TVector>
{
    /// <summary>C += A·B, each lane with a B of its own.</summary>
    /// <param name="a">Four rows of A as [k][row][lane].</param>
    /// <param name="b">Four columns of B as [k][column][lane].</param>
    /// <param name="depth">Columns of A.</param>
    /// <param name="c">One group of four columns of C.</param>
    /// <param name="rowStride">Floats between rows of C.</param>
    public static void AddOwn(float* a, float* b, int depth, float* c, int rowStride)
    {
        int lanes = TLanes.Count;
        if (TLanes.ManyRegisters)
        {
            Four<Own>(a, lanes, 4 * lanes, b, depth, c, rowStride, true);
        }
        else
        {
            Two<Own>(a, lanes, 4 * lanes, b, depth, c, rowStride, true);
            Two<Own>(a, lanes, 4 * lanes, b + (2 * lanes), depth, c + (2 * lanes), rowStride, true);
        }
    }

    /// <summary>C = A·B with the same B in every lane.</summary>
    /// <param name="a">Four rows of A: entry k at a + row·aRow + k·lanes.</param>
    /// <param name="aRow">Floats between rows of A.</param>
    /// <param name="b">Four columns of B as [k][column].</param>
    /// <param name="depth">Columns of A.</param>
    /// <param name="c">One group of four columns of C.</param>
    /// <param name="rowStride">Floats between rows of C.</param>
    public static void Shared(float* a, int aRow, float* b, int depth, float* c, int rowStride)
    {
        if (TLanes.ManyRegisters)
        {
            Four<Common>(a, aRow, TLanes.Count, b, depth, c, rowStride, false);
        }
        else
        {
            Two<Common>(a, aRow, TLanes.Count, b, depth, c, rowStride, false);
            Two<Common>(a, aRow, TLanes.Count, b + 2, depth, c + (2 * TLanes.Count), rowStride, false);
        }
    }

    /// <summary>y += Δ·Q for one row: columns <paramref name="first"/> to <paramref name="end"/> of y, both multiples of four.</summary>
    /// <param name="delta">Δ, <paramref name="depth"/> entries as [k][lane].</param>
    /// <param name="q">Row 0 of Q, the same in every lane, row-major.</param>
    /// <param name="stride">Floats between rows of Q.</param>
    /// <param name="depth">Rows of Q.</param>
    /// <param name="y">The row as [column][lane].</param>
    /// <param name="first">The first column.</param>
    /// <param name="end">The column after the last.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddRow(float* delta, float* q, int stride, int depth, float* y, int first, int end)
    {
        int lanes = TLanes.Count;
        int column = first;
        for (; column + 8 <= end; column += 8)
        {
            float* target = y + (column * lanes);
            TVector y0 = TLanes.Load(target);
            TVector y1 = TLanes.Load(target + lanes);
            TVector y2 = TLanes.Load(target + (2 * lanes));
            TVector y3 = TLanes.Load(target + (3 * lanes));
            TVector y4 = TLanes.Load(target + (4 * lanes));
            TVector y5 = TLanes.Load(target + (5 * lanes));
            TVector y6 = TLanes.Load(target + (6 * lanes));
            TVector y7 = TLanes.Load(target + (7 * lanes));
            float* row = q + column;
            float* d = delta;
            for (int k = 0; k < depth; k++, row += stride, d += lanes)
            {
                TVector change = TLanes.Load(d);
                y0 = TLanes.MultiplyAdd(change, TLanes.Create(row[0]), y0);
                y1 = TLanes.MultiplyAdd(change, TLanes.Create(row[1]), y1);
                y2 = TLanes.MultiplyAdd(change, TLanes.Create(row[2]), y2);
                y3 = TLanes.MultiplyAdd(change, TLanes.Create(row[3]), y3);
                y4 = TLanes.MultiplyAdd(change, TLanes.Create(row[4]), y4);
                y5 = TLanes.MultiplyAdd(change, TLanes.Create(row[5]), y5);
                y6 = TLanes.MultiplyAdd(change, TLanes.Create(row[6]), y6);
                y7 = TLanes.MultiplyAdd(change, TLanes.Create(row[7]), y7);
            }

            TLanes.Store(y0, target);
            TLanes.Store(y1, target + lanes);
            TLanes.Store(y2, target + (2 * lanes));
            TLanes.Store(y3, target + (3 * lanes));
            TLanes.Store(y4, target + (4 * lanes));
            TLanes.Store(y5, target + (5 * lanes));
            TLanes.Store(y6, target + (6 * lanes));
            TLanes.Store(y7, target + (7 * lanes));
        }

        if (column < end)
        {
            AddFour(delta, q + column, stride, depth, y + (column * lanes));
        }
    }

    /// <summary>Four columns of <see cref="AddRow"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddFour(float* delta, float* q, int stride, int depth, float* y)
    {
        int lanes = TLanes.Count;
        TVector y0 = TLanes.Load(y);
        TVector y1 = TLanes.Load(y + lanes);
        TVector y2 = TLanes.Load(y + (2 * lanes));
        TVector y3 = TLanes.Load(y + (3 * lanes));
        for (int k = 0; k < depth; k++, q += stride, delta += lanes)
        {
            TVector change = TLanes.Load(delta);
            y0 = TLanes.MultiplyAdd(change, TLanes.Create(q[0]), y0);
            y1 = TLanes.MultiplyAdd(change, TLanes.Create(q[1]), y1);
            y2 = TLanes.MultiplyAdd(change, TLanes.Create(q[2]), y2);
            y3 = TLanes.MultiplyAdd(change, TLanes.Create(q[3]), y3);
        }

        TLanes.Store(y0, y);
        TLanes.Store(y1, y + lanes);
        TLanes.Store(y2, y + (2 * lanes));
        TLanes.Store(y3, y + (3 * lanes));
    }

    // Four rows by four columns: sixteen sums in registers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four<TRight>(float* a, int aRow, int aStep, float* b, int depth, float* c, int rowStride, bool add)
        where TRight : struct, IRight
    {
        int lanes = TLanes.Count;
        TVector zero = TLanes.Create(0);
        float* c1 = c + rowStride;
        float* c2 = c1 + rowStride;
        float* c3 = c2 + rowStride;
        TVector c00 = zero, c01 = zero, c02 = zero, c03 = zero;
        TVector c10 = zero, c11 = zero, c12 = zero, c13 = zero;
        TVector c20 = zero, c21 = zero, c22 = zero, c23 = zero;
        TVector c30 = zero, c31 = zero, c32 = zero, c33 = zero;
        if (add)
        {
            c00 = TLanes.Load(c);
            c01 = TLanes.Load(c + lanes);
            c02 = TLanes.Load(c + (2 * lanes));
            c03 = TLanes.Load(c + (3 * lanes));
            c10 = TLanes.Load(c1);
            c11 = TLanes.Load(c1 + lanes);
            c12 = TLanes.Load(c1 + (2 * lanes));
            c13 = TLanes.Load(c1 + (3 * lanes));
            c20 = TLanes.Load(c2);
            c21 = TLanes.Load(c2 + lanes);
            c22 = TLanes.Load(c2 + (2 * lanes));
            c23 = TLanes.Load(c2 + (3 * lanes));
            c30 = TLanes.Load(c3);
            c31 = TLanes.Load(c3 + lanes);
            c32 = TLanes.Load(c3 + (2 * lanes));
            c33 = TLanes.Load(c3 + (3 * lanes));
        }

        int bStep = TRight.Step;
        for (int k = 0; k < depth; k++, a += aStep, b += bStep)
        {
            TVector b0 = TRight.Load(b, 0);
            TVector b1 = TRight.Load(b, 1);
            TVector b2 = TRight.Load(b, 2);
            TVector b3 = TRight.Load(b, 3);
            TVector row = TLanes.Load(a);
            c00 = TLanes.MultiplyAdd(row, b0, c00);
            c01 = TLanes.MultiplyAdd(row, b1, c01);
            c02 = TLanes.MultiplyAdd(row, b2, c02);
            c03 = TLanes.MultiplyAdd(row, b3, c03);
            row = TLanes.Load(a + aRow);
            c10 = TLanes.MultiplyAdd(row, b0, c10);
            c11 = TLanes.MultiplyAdd(row, b1, c11);
            c12 = TLanes.MultiplyAdd(row, b2, c12);
            c13 = TLanes.MultiplyAdd(row, b3, c13);
            row = TLanes.Load(a + (2 * aRow));
            c20 = TLanes.MultiplyAdd(row, b0, c20);
            c21 = TLanes.MultiplyAdd(row, b1, c21);
            c22 = TLanes.MultiplyAdd(row, b2, c22);
            c23 = TLanes.MultiplyAdd(row, b3, c23);
            row = TLanes.Load(a + (3 * aRow));
            c30 = TLanes.MultiplyAdd(row, b0, c30);
            c31 = TLanes.MultiplyAdd(row, b1, c31);
            c32 = TLanes.MultiplyAdd(row, b2, c32);
            c33 = TLanes.MultiplyAdd(row, b3, c33);
        }

        TLanes.Store(c00, c);
        TLanes.Store(c01, c + lanes);
        TLanes.Store(c02, c + (2 * lanes));
        TLanes.Store(c03, c + (3 * lanes));
        TLanes.Store(c10, c1);
        TLanes.Store(c11, c1 + lanes);
        TLanes.Store(c12, c1 + (2 * lanes));
        TLanes.Store(c13, c1 + (3 * lanes));
        TLanes.Store(c20, c2);
        TLanes.Store(c21, c2 + lanes);
        TLanes.Store(c22, c2 + (2 * lanes));
        TLanes.Store(c23, c2 + (3 * lanes));
        TLanes.Store(c30, c3);
        TLanes.Store(c31, c3 + lanes);
        TLanes.Store(c32, c3 + (2 * lanes));
        TLanes.Store(c33, c3 + (3 * lanes));
    }

    // Four rows by two columns, for sixteen registers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Two<TRight>(float* a, int aRow, int aStep, float* b, int depth, float* c, int rowStride, bool add)
        where TRight : struct, IRight
    {
        int lanes = TLanes.Count;
        TVector zero = TLanes.Create(0);
        float* c1 = c + rowStride;
        float* c2 = c1 + rowStride;
        float* c3 = c2 + rowStride;
        TVector c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
        if (add)
        {
            c00 = TLanes.Load(c);
            c01 = TLanes.Load(c + lanes);
            c10 = TLanes.Load(c1);
            c11 = TLanes.Load(c1 + lanes);
            c20 = TLanes.Load(c2);
            c21 = TLanes.Load(c2 + lanes);
            c30 = TLanes.Load(c3);
            c31 = TLanes.Load(c3 + lanes);
        }

        int bStep = TRight.Step;
        for (int k = 0; k < depth; k++, a += aStep, b += bStep)
        {
            TVector b0 = TRight.Load(b, 0);
            TVector b1 = TRight.Load(b, 1);
            TVector row = TLanes.Load(a);
            c00 = TLanes.MultiplyAdd(row, b0, c00);
            c01 = TLanes.MultiplyAdd(row, b1, c01);
            row = TLanes.Load(a + aRow);
            c10 = TLanes.MultiplyAdd(row, b0, c10);
            c11 = TLanes.MultiplyAdd(row, b1, c11);
            row = TLanes.Load(a + (2 * aRow));
            c20 = TLanes.MultiplyAdd(row, b0, c20);
            c21 = TLanes.MultiplyAdd(row, b1, c21);
            row = TLanes.Load(a + (3 * aRow));
            c30 = TLanes.MultiplyAdd(row, b0, c30);
            c31 = TLanes.MultiplyAdd(row, b1, c31);
        }

        TLanes.Store(c00, c);
        TLanes.Store(c01, c + lanes);
        TLanes.Store(c10, c1);
        TLanes.Store(c11, c1 + lanes);
        TLanes.Store(c20, c2);
        TLanes.Store(c21, c2 + lanes);
        TLanes.Store(c30, c3);
        TLanes.Store(c31, c3 + lanes);
    }

    // How a product reads its right factor.
    private interface IRight
    {
        static abstract int Step { get; }

        static abstract TVector Load(float* b, int column);
    }

    private readonly struct Own : IRight
    {
        public static int Step => 4 * TLanes.Count;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static TVector Load(float* b, int column) => TLanes.Load(b + (column * TLanes.Count));
    }

    private readonly struct Common : IRight
    {
        public static int Step => 4;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static TVector Load(float* b, int column) => TLanes.Create(b[column]);
    }
}
