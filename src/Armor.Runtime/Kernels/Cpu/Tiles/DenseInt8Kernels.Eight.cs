using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <content>Half a tile by eight inputs.</content>
internal readonly unsafe partial struct DenseInt8Kernels<TVector, TVectors, TForm>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Eight(byte* weights, byte* input, int half, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var sectionSteps = SectionSteps;
        for (; steps > 0; steps -= sectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            var values = weights + (half * V);
            TVector a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
            TVector b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
            var end = input + (Math.Min(sectionSteps, steps) * 8 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (v, w) = (TVectors.LoadBytes(values), TVectors.LoadBytes(values + (V / 2)));
                AddBoth(LoadInput(input), v, w, ref a0, ref b0);
                AddBoth(LoadInput(input + U), v, w, ref a1, ref b1);
                AddBoth(LoadInput(input + (2 * U)), v, w, ref a2, ref b2);
                AddBoth(LoadInput(input + (3 * U)), v, w, ref a3, ref b3);
                AddBoth(LoadInput(input + (4 * U)), v, w, ref a4, ref b4);
                AddBoth(LoadInput(input + (5 * U)), v, w, ref a5, ref b5);
                AddBoth(LoadInput(input + (6 * U)), v, w, ref a6, ref b6);
                AddBoth(LoadInput(input + (7 * U)), v, w, ref a7, ref b7);
                values += 2 * V;
                weights += 2 * V;
                input += 8 * U;
            }
            while (input < end);

            Scale(a0, a1, a2, a3, scales, 2 * half, inputScales, isFirst, sums);
            Scale(a4, a5, a6, a7, scales, 2 * half, inputScales + 4, isFirst, sums + (4 * TVectors.Width));
            Scale(b0, b1, b2, b3, scales, (2 * half) + 1, inputScales, isFirst, sums + (8 * TVectors.Width));
            Scale(b4, b5, b6, b7, scales, (2 * half) + 1, inputScales + 4, isFirst, sums + (12 * TVectors.Width));
        }
    }

    /// <summary>Two vectors, one input.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddBoth(TVector x, TVector values, TVector others, ref TVector sum, ref TVector otherSum)
    {
        sum = TVectors.AddProducts(x, values, sum);
        otherSum = TVectors.AddProducts(x, others, otherSum);
    }
}
