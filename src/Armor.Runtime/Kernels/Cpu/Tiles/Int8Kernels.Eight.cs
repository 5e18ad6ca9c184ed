using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <content>Half a tile by eight inputs.</content>
internal readonly unsafe partial struct Int8Kernels<TVector, TVectors>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Eight(byte* weights, byte* input, int half, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var table = TVectors.PatternTable();
        for (; steps > 0; steps -= SectionSteps, isFirst = false)
        {
            var scales = (float*)weights + (4 * half);
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            var (p, q) = (*(TVector*)(weights + (half * 2 * V)), *(TVector*)(weights + (half * 2 * V) + V));
            weights += 4 * V;
            Prefetching.Fetch(ref next, 2 * lines);
            var values = weights + (half * V);
            TVector a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
            TVector b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
            var end = input + (Math.Min(SectionSteps, steps) * 8 * V);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (v, w) = (TVectors.LoadBytes(values), TVectors.LoadBytes(values + (V / 2)));
                var (c, d) = (TVectors.ControlsOf(p, table), TVectors.ControlsOf(q, table));
                Add(*(TVector*)(input), v, w, c, d, ref a0, ref b0);
                Add(*(TVector*)(input + V), v, w, c, d, ref a1, ref b1);
                Add(*(TVector*)(input + (2 * V)), v, w, c, d, ref a2, ref b2);
                Add(*(TVector*)(input + (3 * V)), v, w, c, d, ref a3, ref b3);
                Add(*(TVector*)(input + (4 * V)), v, w, c, d, ref a4, ref b4);
                Add(*(TVector*)(input + (5 * V)), v, w, c, d, ref a5, ref b5);
                Add(*(TVector*)(input + (6 * V)), v, w, c, d, ref a6, ref b6);
                Add(*(TVector*)(input + (7 * V)), v, w, c, d, ref a7, ref b7);
                p = TVectors.NextPatterns(p);
                q = TVectors.NextPatterns(q);
                values += 2 * V;
                weights += 2 * V;
                input += 8 * V;
            }
            while (input < end);

            var (scale, otherScale) = (TVectors.PairScales(scales[0], scales[1]), TVectors.PairScales(scales[2], scales[3]));
            Scale(a0, scale, inputScales, isFirst, sums);
            Scale(a1, scale, inputScales + 1, isFirst, sums + TVectors.Width);
            Scale(a2, scale, inputScales + 2, isFirst, sums + (2 * TVectors.Width));
            Scale(a3, scale, inputScales + 3, isFirst, sums + (3 * TVectors.Width));
            Scale(a4, scale, inputScales + 4, isFirst, sums + (4 * TVectors.Width));
            Scale(a5, scale, inputScales + 5, isFirst, sums + (5 * TVectors.Width));
            Scale(a6, scale, inputScales + 6, isFirst, sums + (6 * TVectors.Width));
            Scale(a7, scale, inputScales + 7, isFirst, sums + (7 * TVectors.Width));
            Scale(b0, otherScale, inputScales, isFirst, sums + (8 * TVectors.Width));
            Scale(b1, otherScale, inputScales + 1, isFirst, sums + (9 * TVectors.Width));
            Scale(b2, otherScale, inputScales + 2, isFirst, sums + (10 * TVectors.Width));
            Scale(b3, otherScale, inputScales + 3, isFirst, sums + (11 * TVectors.Width));
            Scale(b4, otherScale, inputScales + 4, isFirst, sums + (12 * TVectors.Width));
            Scale(b5, otherScale, inputScales + 5, isFirst, sums + (13 * TVectors.Width));
            Scale(b6, otherScale, inputScales + 6, isFirst, sums + (14 * TVectors.Width));
            Scale(b7, otherScale, inputScales + 7, isFirst, sums + (15 * TVectors.Width));
        }
    }

    /// <summary>Two vectors of values, one input.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(TVector x, TVector values, TVector others, TVector controls, TVector otherControls, ref TVector sum, ref TVector otherSum)
    {
        sum = TVectors.AddProducts(TVectors.PickPairs(x, controls), values, sum);
        otherSum = TVectors.AddProducts(TVectors.PickPairs(x, otherControls), others, otherSum);
    }

    /// <summary>A section's sum of one input times the scales of its pair of rows, in their lanes, and of the input.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(TVector sum, TVector pairScales, float* inputScale, bool isFirst, float* sums)
    {
        var scale = TVectors.Multiply(pairScales, TVectors.Broadcast(inputScale));
        TVectors.Store(TVectors.MultiplyAdd(TVectors.ToFloat32(sum), scale, isFirst ? default : *(TVector*)sums), sums);
    }
}
