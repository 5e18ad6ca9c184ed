using System.Numerics;

namespace Armor.Runtime.Generation.Attention;

/// <summary>
/// The product of small matrices that both halves of attention are made of. Every element of the result is one chain of multiply-adds in the order of
/// the inner index, so that it does not depend on the rows beside it.
/// </summary>
internal static unsafe class BlockProduct
{
    /// <summary>What the number of columns must be a multiple of.</summary>
    public static int ColumnStep => 2 * Vector<float>.Count;

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
    public static void Multiply(
        float* a, int aStride, float* b, int bStride, float* c, int cStride, int rows, int inner, int columns, bool adds)
    {
        var row = 0;
        for (; row <= rows - 4; row += 4)
        {
            for (var column = 0; column < columns; column += ColumnStep)
            {
                FourRows(a + (row * (nint)aStride), aStride, b + column, bStride, c + (row * (nint)cStride) + column, cStride, inner, adds);
            }
        }

        for (; row < rows; row++)
        {
            var column = 0;
            for (; column <= columns - (4 * ColumnStep); column += 4 * ColumnStep)
            {
                OneWideRow(a + (row * (nint)aStride), b + column, bStride, c + (row * (nint)cStride) + column, inner, adds);
            }

            for (; column < columns; column += ColumnStep)
            {
                OneRow(a + (row * (nint)aStride), b + column, bStride, c + (row * (nint)cStride) + column, inner, adds);
            }
        }
    }

    private static void FourRows(float* a, int aStride, float* b, int bStride, float* c, int cStride, int inner, bool adds)
    {
        var width = Vector<float>.Count;
        var (a1, a2, a3) = ((nint)aStride, 2 * (nint)aStride, 3 * (nint)aStride);
        var c1 = c + cStride;
        var c2 = c1 + cStride;
        var c3 = c2 + cStride;
        Vector<float> sum00 = default, sum01 = default, sum10 = default, sum11 = default;
        Vector<float> sum20 = default, sum21 = default, sum30 = default, sum31 = default;
        if (adds)
        {
            (sum00, sum01) = (Vector.Load(c), Vector.Load(c + width));
            (sum10, sum11) = (Vector.Load(c1), Vector.Load(c1 + width));
            (sum20, sum21) = (Vector.Load(c2), Vector.Load(c2 + width));
            (sum30, sum31) = (Vector.Load(c3), Vector.Load(c3 + width));
        }

        for (var end = a + inner; a < end; a++, b += bStride)
        {
            var b0 = Vector.Load(b);
            var b1 = Vector.Load(b + width);
            var factor = new Vector<float>(*a);
            sum00 = Vector.MultiplyAddEstimate(factor, b0, sum00);
            sum01 = Vector.MultiplyAddEstimate(factor, b1, sum01);
            factor = new Vector<float>(a[a1]);
            sum10 = Vector.MultiplyAddEstimate(factor, b0, sum10);
            sum11 = Vector.MultiplyAddEstimate(factor, b1, sum11);
            factor = new Vector<float>(a[a2]);
            sum20 = Vector.MultiplyAddEstimate(factor, b0, sum20);
            sum21 = Vector.MultiplyAddEstimate(factor, b1, sum21);
            factor = new Vector<float>(a[a3]);
            sum30 = Vector.MultiplyAddEstimate(factor, b0, sum30);
            sum31 = Vector.MultiplyAddEstimate(factor, b1, sum31);
        }

        sum00.Store(c);
        sum01.Store(c + width);
        sum10.Store(c1);
        sum11.Store(c1 + width);
        sum20.Store(c2);
        sum21.Store(c2 + width);
        sum30.Store(c3);
        sum31.Store(c3 + width);
    }

    /// <summary>Four steps of columns: as many chains at once as hide the latency of one.</summary>
    private static void OneWideRow(float* a, float* b, int bStride, float* c, int inner, bool adds)
    {
        var width = Vector<float>.Count;
        Vector<float> sum0 = default, sum1 = default, sum2 = default, sum3 = default, sum4 = default, sum5 = default, sum6 = default, sum7 = default;
        if (adds)
        {
            (sum0, sum1, sum2, sum3) = (Vector.Load(c), Vector.Load(c + width), Vector.Load(c + (2 * width)), Vector.Load(c + (3 * width)));
            (sum4, sum5, sum6, sum7) =
                (Vector.Load(c + (4 * width)), Vector.Load(c + (5 * width)), Vector.Load(c + (6 * width)), Vector.Load(c + (7 * width)));
        }

        for (var end = a + inner; a < end; a++, b += bStride)
        {
            var factor = new Vector<float>(*a);
            sum0 = Vector.MultiplyAddEstimate(factor, Vector.Load(b), sum0);
            sum1 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + width), sum1);
            sum2 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (2 * width)), sum2);
            sum3 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (3 * width)), sum3);
            sum4 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (4 * width)), sum4);
            sum5 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (5 * width)), sum5);
            sum6 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (6 * width)), sum6);
            sum7 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + (7 * width)), sum7);
        }

        sum0.Store(c);
        sum1.Store(c + width);
        sum2.Store(c + (2 * width));
        sum3.Store(c + (3 * width));
        sum4.Store(c + (4 * width));
        sum5.Store(c + (5 * width));
        sum6.Store(c + (6 * width));
        sum7.Store(c + (7 * width));
    }

    private static void OneRow(float* a, float* b, int bStride, float* c, int inner, bool adds)
    {
        var width = Vector<float>.Count;
        var sum0 = adds ? Vector.Load(c) : default;
        var sum1 = adds ? Vector.Load(c + width) : default;
        for (var end = a + inner; a < end; a++, b += bStride)
        {
            var factor = new Vector<float>(*a);
            sum0 = Vector.MultiplyAddEstimate(factor, Vector.Load(b), sum0);
            sum1 = Vector.MultiplyAddEstimate(factor, Vector.Load(b + width), sum1);
        }

        sum0.Store(c);
        sum1.Store(c + width);
    }
}
