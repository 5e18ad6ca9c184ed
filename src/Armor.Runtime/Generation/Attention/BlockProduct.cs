using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Generation.Attention;

/// <summary>
/// The product of small matrices that both halves of attention are made of, in the processor's widest vectors. Every element of the result is one
/// chain of multiply-adds in the order of the inner index, so that it does not depend on the rows beside it.
/// </summary>
internal static unsafe class BlockProduct
{
    /// <summary>What the number of columns must be a multiple of.</summary>
    public static int ColumnStep => Vectors512.IsSupported ? Vectors512.Width : Vectors256.IsSupported ? Vectors256.Width : Vectors128.Width;

    /// <summary>C = A·B, or C += A·B. Strides are distances between rows.</summary>
    /// <param name="a">[rows, inner].</param>
    /// <param name="aStride">At least inner.</param>
    /// <param name="b">[inner, columns].</param>
    /// <param name="bStride">At least columns.</param>
    /// <param name="c">[rows, columns].</param>
    /// <param name="cStride">At least columns.</param>
    /// <param name="rows">Any number.</param>
    /// <param name="inner">Any number.</param>
    /// <param name="columns">A multiple of <see cref="ColumnStep"/>.</param>
    /// <param name="adds">Whether to add to C.</param>
    /// <param name="next">What will be read after B, in rows of the same stride: it is fetched meanwhile.</param>
    public static void Multiply(
        float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, int columns, bool adds, float* next)
    {
        if (Vectors512.IsSupported)
        {
            BlockProduct<Vector512<float>, Vectors512>.Multiply(a, aStride, b, bStride, c, cStride, rows, inner, columns, adds, next);
        }
        else if (Vectors256.IsSupported)
        {
            BlockProduct<Vector256<float>, Vectors256>.Multiply(a, aStride, b, bStride, c, cStride, rows, inner, columns, adds, next);
        }
        else
        {
            BlockProduct<Vector128<float>, Vectors128>.Multiply(a, aStride, b, bStride, c, cStride, rows, inner, columns, adds, next);
        }
    }
}

/// <summary><see cref="BlockProduct"/> for one width of vectors.</summary>
internal static unsafe class BlockProduct<TVector, TVectors>
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
{
    /// <summary>Vectors of a row of C that are summed at once: with those of four rows, and of B, they are as many as there are registers.</summary>
    private static int Wide => TVectors.GroupSize >= 4 ? 4 : 2;

    public static void Multiply(
        float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, int columns, bool adds, float* next)
    {
        for (var row = 0; row < rows; row += 4)
        {
            var count = Math.Min(4, rows - row);
            var ownA = a + (row * (nint)aStride);
            var ownC = c + (row * (nint)cStride);

            // Fetched while the first rows go over all of B; later ones fetch what is there already.
            var fetched = row == 0 ? next : b;
            var column = 0;
            for (; column <= columns - (Wide * TVectors.Width); column += Wide * TVectors.Width)
            {
                if (count == 1)
                {
                    OneWide(ownA, b + column, bStride, ownC + column, inner, adds, fetched + column);
                }
                else if (Wide == 4)
                {
                    FourByFour(ownA, aStride, b + column, bStride, ownC + column, cStride, count, inner, adds, fetched + column);
                }
                else
                {
                    FourByTwo(ownA, aStride, b + column, bStride, ownC + column, cStride, count, inner, adds, fetched + column);
                }
            }

            for (; column < columns; column += TVectors.Width)
            {
                if (count == 1)
                {
                    One(ownA, b + column, bStride, ownC + column, inner, adds);
                }
                else
                {
                    FourByOne(ownA, aStride, b + column, bStride, ownC + column, cStride, count, inner, adds);
                }
            }
        }
    }

    // Of less than four rows, the last one stands for those that are missing: it is summed more than once, to the same result at the same place.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByFour(
        float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, bool adds, float* next)
    {
        var width = TVectors.Width;
        var (a1, a2, a3) = (RowAt(1, rows, aStride), RowAt(2, rows, aStride), RowAt(3, rows, aStride));
        var c1 = c + RowAt(1, rows, cStride);
        var c2 = c + RowAt(2, rows, cStride);
        var c3 = c + RowAt(3, rows, cStride);
        var (s00, s01, s02, s03) = (Start(c, adds), Start(c + width, adds), Start(c + (2 * width), adds), Start(c + (3 * width), adds));
        var (s10, s11, s12, s13) = (Start(c1, adds), Start(c1 + width, adds), Start(c1 + (2 * width), adds), Start(c1 + (3 * width), adds));
        var (s20, s21, s22, s23) = (Start(c2, adds), Start(c2 + width, adds), Start(c2 + (2 * width), adds), Start(c2 + (3 * width), adds));
        var (s30, s31, s32, s33) = (Start(c3, adds), Start(c3 + width, adds), Start(c3 + (2 * width), adds), Start(c3 + (3 * width), adds));
        for (var end = a + inner; a < end; a++, b += bStride, next += bStride)
        {
            Fetch(next, 4 * width);
            var (b0, b1, b2, b3) = (TVectors.Load(b), TVectors.Load(b + width), TVectors.Load(b + (2 * width)), TVectors.Load(b + (3 * width)));
            var factor = TVectors.Broadcast(a);
            s00 = TVectors.MultiplyAdd(factor, b0, s00);
            s01 = TVectors.MultiplyAdd(factor, b1, s01);
            s02 = TVectors.MultiplyAdd(factor, b2, s02);
            s03 = TVectors.MultiplyAdd(factor, b3, s03);
            factor = TVectors.Broadcast(a + a1);
            s10 = TVectors.MultiplyAdd(factor, b0, s10);
            s11 = TVectors.MultiplyAdd(factor, b1, s11);
            s12 = TVectors.MultiplyAdd(factor, b2, s12);
            s13 = TVectors.MultiplyAdd(factor, b3, s13);
            factor = TVectors.Broadcast(a + a2);
            s20 = TVectors.MultiplyAdd(factor, b0, s20);
            s21 = TVectors.MultiplyAdd(factor, b1, s21);
            s22 = TVectors.MultiplyAdd(factor, b2, s22);
            s23 = TVectors.MultiplyAdd(factor, b3, s23);
            factor = TVectors.Broadcast(a + a3);
            s30 = TVectors.MultiplyAdd(factor, b0, s30);
            s31 = TVectors.MultiplyAdd(factor, b1, s31);
            s32 = TVectors.MultiplyAdd(factor, b2, s32);
            s33 = TVectors.MultiplyAdd(factor, b3, s33);
        }

        Store(c, s00, s01);
        Store(c + (2 * width), s02, s03);
        Store(c1, s10, s11);
        Store(c1 + (2 * width), s12, s13);
        Store(c2, s20, s21);
        Store(c2 + (2 * width), s22, s23);
        Store(c3, s30, s31);
        Store(c3 + (2 * width), s32, s33);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByTwo(
        float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, bool adds, float* next)
    {
        var width = TVectors.Width;
        var (a1, a2, a3) = (RowAt(1, rows, aStride), RowAt(2, rows, aStride), RowAt(3, rows, aStride));
        var c1 = c + RowAt(1, rows, cStride);
        var c2 = c + RowAt(2, rows, cStride);
        var c3 = c + RowAt(3, rows, cStride);
        var (s00, s01, s10, s11) = (Start(c, adds), Start(c + width, adds), Start(c1, adds), Start(c1 + width, adds));
        var (s20, s21, s30, s31) = (Start(c2, adds), Start(c2 + width, adds), Start(c3, adds), Start(c3 + width, adds));
        for (var end = a + inner; a < end; a++, b += bStride, next += bStride)
        {
            Fetch(next, 2 * width);
            var (b0, b1) = (TVectors.Load(b), TVectors.Load(b + width));
            var factor = TVectors.Broadcast(a);
            s00 = TVectors.MultiplyAdd(factor, b0, s00);
            s01 = TVectors.MultiplyAdd(factor, b1, s01);
            factor = TVectors.Broadcast(a + a1);
            s10 = TVectors.MultiplyAdd(factor, b0, s10);
            s11 = TVectors.MultiplyAdd(factor, b1, s11);
            factor = TVectors.Broadcast(a + a2);
            s20 = TVectors.MultiplyAdd(factor, b0, s20);
            s21 = TVectors.MultiplyAdd(factor, b1, s21);
            factor = TVectors.Broadcast(a + a3);
            s30 = TVectors.MultiplyAdd(factor, b0, s30);
            s31 = TVectors.MultiplyAdd(factor, b1, s31);
        }

        Store(c, s00, s01);
        Store(c1, s10, s11);
        Store(c2, s20, s21);
        Store(c3, s30, s31);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FourByOne(float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, bool adds)
    {
        var (a1, a2, a3) = (RowAt(1, rows, aStride), RowAt(2, rows, aStride), RowAt(3, rows, aStride));
        var c1 = c + RowAt(1, rows, cStride);
        var c2 = c + RowAt(2, rows, cStride);
        var c3 = c + RowAt(3, rows, cStride);
        var (s0, s1, s2, s3) = (Start(c, adds), Start(c1, adds), Start(c2, adds), Start(c3, adds));
        for (var end = a + inner; a < end; a++, b += bStride)
        {
            var b0 = TVectors.Load(b);
            s0 = TVectors.MultiplyAdd(TVectors.Broadcast(a), b0, s0);
            s1 = TVectors.MultiplyAdd(TVectors.Broadcast(a + a1), b0, s1);
            s2 = TVectors.MultiplyAdd(TVectors.Broadcast(a + a2), b0, s2);
            s3 = TVectors.MultiplyAdd(TVectors.Broadcast(a + a3), b0, s3);
        }

        TVectors.Store(s0, c);
        TVectors.Store(s1, c1);
        TVectors.Store(s2, c2);
        TVectors.Store(s3, c3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void OneWide(float* a, float* b, int bStride, float* c, int inner, bool adds, float* next)
    {
        var width = TVectors.Width;
        var (s0, s1) = (Start(c, adds), Start(c + width, adds));
        TVector s2 = default, s3 = default;
        if (Wide == 4)
        {
            (s2, s3) = (Start(c + (2 * width), adds), Start(c + (3 * width), adds));
        }

        for (var end = a + inner; a < end; a++, b += bStride, next += bStride)
        {
            Fetch(next, Wide * width);
            var factor = TVectors.Broadcast(a);
            s0 = TVectors.MultiplyAdd(factor, TVectors.Load(b), s0);
            s1 = TVectors.MultiplyAdd(factor, TVectors.Load(b + width), s1);
            if (Wide == 4)
            {
                s2 = TVectors.MultiplyAdd(factor, TVectors.Load(b + (2 * width)), s2);
                s3 = TVectors.MultiplyAdd(factor, TVectors.Load(b + (3 * width)), s3);
            }
        }

        Store(c, s0, s1);
        if (Wide == 4)
        {
            Store(c + (2 * width), s2, s3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void One(float* a, float* b, int bStride, float* c, int inner, bool adds)
    {
        var sum = Start(c, adds);
        for (var end = a + inner; a < end; a++, b += bStride)
        {
            sum = TVectors.MultiplyAdd(TVectors.Broadcast(a), TVectors.Load(b), sum);
        }

        TVectors.Store(sum, c);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nint RowAt(int row, int rows, int stride) => Math.Min(row, rows - 1) * (nint)stride;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Start(float* c, bool adds) => adds ? TVectors.Load(c) : default;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, TVector first, TVector second)
    {
        TVectors.Store(first, c);
        TVectors.Store(second, c + TVectors.Width);
    }

    /// <summary>Fetches the cache lines of some elements, as many as a step reads.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch(float* next, int count)
    {
        const int Line = 16;
        if (!Sse.IsSupported)
        {
            return;
        }

        Sse.Prefetch0(next);
        if (count > Line)
        {
            Sse.Prefetch0(next + Line);
        }

        if (count > 2 * Line)
        {
            Sse.Prefetch0(next + (2 * Line));
            Sse.Prefetch0(next + (3 * Line));
        }
    }
}
