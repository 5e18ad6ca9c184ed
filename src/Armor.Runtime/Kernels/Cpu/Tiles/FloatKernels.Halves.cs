using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <content>Half a tile by four inputs: with 16 registers eight sums, and what is done once for each vector of values serves four inputs.</content>
internal readonly unsafe partial struct FloatKernels<TVector, TVectors, TValues, TForm>
{
    /// <returns>Where the fetching of what is next has come to.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static byte* FourByHalf(byte* weights, byte* packed, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var input = (float*)packed;
        var (a0, b0) = (Start(isFirst, sums, 0), Start(isFirst, sums, 4));
        var (a1, b1) = (Start(isFirst, sums, 1), Start(isFirst, sums, 5));
        var (a2, b2) = (Start(isFirst, sums, 2), Start(isFirst, sums, 6));
        var (a3, b3) = (Start(isFirst, sums, 3), Start(isFirst, sums, 7));
        TVector c = default, d = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c, d) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)));
                weights += 4 * sizeof(TVector);
                Prefetching.Fetch(ref next, lines);
            }

            var end = input + (Math.Min(SectionSteps, steps) * 4 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (v, w) = (LoadValues(weights, 0, 0), LoadValues(weights, 1, 0));
                Add(LoadInput(input), v, w, c, d, ref a0, ref b0);
                Add(LoadInput(input + U), v, w, c, d, ref a1, ref b1);
                Add(LoadInput(input + (2 * U)), v, w, c, d, ref a2, ref b2);
                Add(LoadInput(input + (3 * U)), v, w, c, d, ref a3, ref b3);
                MoveOn(ref c);
                MoveOn(ref d);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    var odd = input + (4 * U);
                    (v, w) = (LoadValues(weights, 0, 1), LoadValues(weights, 1, 1));
                    Add(LoadInput(odd), v, w, c, d, ref a0, ref b0);
                    Add(LoadInput(odd + U), v, w, c, d, ref a1, ref b1);
                    Add(LoadInput(odd + (2 * U)), v, w, c, d, ref a2, ref b2);
                    Add(LoadInput(odd + (3 * U)), v, w, c, d, ref a3, ref b3);
                    MoveOn(ref c);
                    MoveOn(ref d);
                }

                weights += 4 * sizeof(TVector);
                input += TValues.PerLane * 4 * U;
            }
            while (input < end);
        }

        Store(a0, a1, sums);
        Store(a2, a3, sums + (2 * TVectors.Width));
        Store(b0, b1, sums + (4 * TVectors.Width));
        Store(b2, b3, sums + (6 * TVectors.Width));
        return next;
    }
}
