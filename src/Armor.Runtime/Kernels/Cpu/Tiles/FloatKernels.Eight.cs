using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <content>Half a tile by eight inputs.</content>
internal readonly unsafe partial struct FloatKernels<TVector, TVectors, TValues, TForm>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Eight(byte* weights, byte* packed, int half, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var input = (float*)packed;
        weights += half * 2 * sizeof(TVector);
        var (a0, b0) = (Start(isFirst, sums, 0), Start(isFirst, sums, 8));
        var (a1, b1) = (Start(isFirst, sums, 1), Start(isFirst, sums, 9));
        var (a2, b2) = (Start(isFirst, sums, 2), Start(isFirst, sums, 10));
        var (a3, b3) = (Start(isFirst, sums, 3), Start(isFirst, sums, 11));
        var (a4, b4) = (Start(isFirst, sums, 4), Start(isFirst, sums, 12));
        var (a5, b5) = (Start(isFirst, sums, 5), Start(isFirst, sums, 13));
        var (a6, b6) = (Start(isFirst, sums, 6), Start(isFirst, sums, 14));
        var (a7, b7) = (Start(isFirst, sums, 7), Start(isFirst, sums, 15));
        TVector c = default, d = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c, d) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)));
                weights += 4 * sizeof(TVector);
                Prefetching.Fetch(ref next, lines);
            }

            var end = input + (Math.Min(SectionSteps, steps) * 8 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (v, w) = (LoadValues(weights, 0, 0), LoadValues(weights, 1, 0));
                Add(LoadInput(input), v, w, c, d, ref a0, ref b0);
                Add(LoadInput(input + U), v, w, c, d, ref a1, ref b1);
                Add(LoadInput(input + (2 * U)), v, w, c, d, ref a2, ref b2);
                Add(LoadInput(input + (3 * U)), v, w, c, d, ref a3, ref b3);
                Add(LoadInput(input + (4 * U)), v, w, c, d, ref a4, ref b4);
                Add(LoadInput(input + (5 * U)), v, w, c, d, ref a5, ref b5);
                Add(LoadInput(input + (6 * U)), v, w, c, d, ref a6, ref b6);
                Add(LoadInput(input + (7 * U)), v, w, c, d, ref a7, ref b7);
                MoveOn(ref c);
                MoveOn(ref d);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    var odd = input + (8 * U);
                    (v, w) = (LoadValues(weights, 0, 1), LoadValues(weights, 1, 1));
                    Add(LoadInput(odd), v, w, c, d, ref a0, ref b0);
                    Add(LoadInput(odd + U), v, w, c, d, ref a1, ref b1);
                    Add(LoadInput(odd + (2 * U)), v, w, c, d, ref a2, ref b2);
                    Add(LoadInput(odd + (3 * U)), v, w, c, d, ref a3, ref b3);
                    Add(LoadInput(odd + (4 * U)), v, w, c, d, ref a4, ref b4);
                    Add(LoadInput(odd + (5 * U)), v, w, c, d, ref a5, ref b5);
                    Add(LoadInput(odd + (6 * U)), v, w, c, d, ref a6, ref b6);
                    Add(LoadInput(odd + (7 * U)), v, w, c, d, ref a7, ref b7);
                    MoveOn(ref c);
                    MoveOn(ref d);
                }

                weights += 4 * sizeof(TVector);
                input += TValues.PerLane * 8 * U;
            }
            while (input < end);
        }

        Store(a0, a1, sums);
        Store(a2, a3, sums + (2 * TVectors.Width));
        Store(a4, a5, sums + (4 * TVectors.Width));
        Store(a6, a7, sums + (6 * TVectors.Width));
        Store(b0, b1, sums + (8 * TVectors.Width));
        Store(b2, b3, sums + (10 * TVectors.Width));
        Store(b4, b5, sums + (12 * TVectors.Width));
        Store(b6, b7, sums + (14 * TVectors.Width));
    }

    /// <summary>Two vectors of values, one input.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(TVector x, TVector values, TVector others, TVector codes, TVector otherCodes, ref TVector sum, ref TVector otherSum)
    {
        sum = TVectors.MultiplyAdd(Kept(x, codes), values, sum);
        otherSum = TVectors.MultiplyAdd(Kept(x, otherCodes), others, otherSum);
    }
}
