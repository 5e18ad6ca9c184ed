using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// The inner loops, for every width of vector, stored type and form of tile. Each adds, for one input after another and in the same order of steps, to
/// four vectors of sums an input, so that a result does not depend on which of the loops computed it.
/// </summary>
internal static unsafe class TileKernels<TVector, TVectors, TValues, TForm>
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
    where TValues : IStoredValues
    where TForm : ITileForm
{
    /// <summary>The steps whose codes fit the 32 bits of a lane.</summary>
    public const int CodedSteps = 16;

    /// <summary>Bytes of a vector.</summary>
    private static int V => TVectors.Width * sizeof(float);

    /// <summary>Float32 of an input that a step reads.</summary>
    private static int U => TForm.IsColumnwise ? 1 : TVectors.Width;

    /// <summary>One tile, one input.</summary>
    /// <param name="weights">The tile, from a multiple of <see cref="CodedSteps"/> on.</param>
    /// <param name="input">[steps, U].</param>
    /// <param name="steps">How many, a multiple of the values in a lane.</param>
    /// <param name="isFirst">Whether the sums begin here; otherwise they are added to.</param>
    /// <param name="sums">[4 vectors].</param>
    public static void One(byte* weights, float* input, int steps, bool isFirst, float* sums)
    {
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 1), Start(isFirst, sums, 2), Start(isFirst, sums, 3));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= CodedSteps)
        {
            if (TForm.HasCodes)
            {
                (c0, c1, c2, c3) = (TVectors.Load(weights), TVectors.Load(weights + V), TVectors.Load(weights + (2 * V)), TVectors.Load(weights + (3 * V)));
                weights += 4 * V;
            }

            var end = input + (Math.Min(CodedSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, 0, x, ref c0, ref a0);
                Add(weights, 1, 0, x, ref c1, ref a1);
                Add(weights, 2, 0, x, ref c2, ref a2);
                Add(weights, 3, 0, x, ref c3, ref a3);
                if (TValues.PerLane == 2)
                {
                    x = LoadInput(input + U);
                    Add(weights, 0, 1, x, ref c0, ref a0);
                    Add(weights, 1, 1, x, ref c1, ref a1);
                    Add(weights, 2, 1, x, ref c2, ref a2);
                    Add(weights, 3, 1, x, ref c3, ref a3);
                }

                weights += 4 * V;
                input += TValues.PerLane * U;
            }
            while (input < end);
        }

        TVectors.Store(a0, sums);
        TVectors.Store(a1, sums + TVectors.Width);
        TVectors.Store(a2, sums + (2 * TVectors.Width));
        TVectors.Store(a3, sums + (3 * TVectors.Width));
    }

    /// <summary>Two tiles far apart, one input: two streams from memory are faster than one.</summary>
    /// <param name="weights">The first tile.</param>
    /// <param name="others">The second.</param>
    /// <param name="input">[steps, U].</param>
    /// <param name="otherInput">The second tile's input: the first one's, but for a columnwise form.</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="sums">[2 tiles, 4 vectors].</param>
    public static void OneByTwoTiles(byte* weights, byte* others, float* input, float* otherInput, int steps, float* sums)
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
        for (; steps > 0; steps -= CodedSteps)
        {
            if (TForm.HasCodes)
            {
                (c0, c1, c2, c3) = (TVectors.Load(weights), TVectors.Load(weights + V), TVectors.Load(weights + (2 * V)), TVectors.Load(weights + (3 * V)));
                (d0, d1, d2, d3) = (TVectors.Load(others), TVectors.Load(others + V), TVectors.Load(others + (2 * V)), TVectors.Load(others + (3 * V)));
                weights += 4 * V;
                others += 4 * V;
            }

            var end = input + (Math.Min(CodedSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, 0, x, ref c0, ref a0);
                Add(weights, 1, 0, x, ref c1, ref a1);
                Add(weights, 2, 0, x, ref c2, ref a2);
                Add(weights, 3, 0, x, ref c3, ref a3);
                x = TForm.IsColumnwise ? LoadInput(otherInput) : x;
                Add(others, 0, 0, x, ref d0, ref b0);
                Add(others, 1, 0, x, ref d1, ref b1);
                Add(others, 2, 0, x, ref d2, ref b2);
                Add(others, 3, 0, x, ref d3, ref b3);
                if (TValues.PerLane == 2)
                {
                    x = LoadInput(input + U);
                    Add(weights, 0, 1, x, ref c0, ref a0);
                    Add(weights, 1, 1, x, ref c1, ref a1);
                    Add(weights, 2, 1, x, ref c2, ref a2);
                    Add(weights, 3, 1, x, ref c3, ref a3);
                    x = TForm.IsColumnwise ? LoadInput(otherInput + U) : x;
                    Add(others, 0, 1, x, ref d0, ref b0);
                    Add(others, 1, 1, x, ref d1, ref b1);
                    Add(others, 2, 1, x, ref d2, ref b2);
                    Add(others, 3, 1, x, ref d3, ref b3);
                }

                weights += 4 * V;
                others += 4 * V;
                input += TValues.PerLane * U;
                otherInput += TValues.PerLane * U;
            }
            while (input < end);
        }

        TVectors.Store(a0, sums);
        TVectors.Store(a1, sums + TVectors.Width);
        TVectors.Store(a2, sums + (2 * TVectors.Width));
        TVectors.Store(a3, sums + (3 * TVectors.Width));
        TVectors.Store(b0, sums + (4 * TVectors.Width));
        TVectors.Store(b1, sums + (5 * TVectors.Width));
        TVectors.Store(b2, sums + (6 * TVectors.Width));
        TVectors.Store(b3, sums + (7 * TVectors.Width));
    }

    /// <summary>One tile, two inputs.</summary>
    /// <param name="weights">As in <see cref="One"/>.</param>
    /// <param name="input">[steps, 2 inputs, U].</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="isFirst">As in <see cref="One"/>.</param>
    /// <param name="sums">[4 vectors, 2 inputs].</param>
    public static void Two(byte* weights, float* input, int steps, bool isFirst, float* sums)
    {
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 2), Start(isFirst, sums, 4), Start(isFirst, sums, 6));
        var (b0, b1, b2, b3) = (Start(isFirst, sums, 1), Start(isFirst, sums, 3), Start(isFirst, sums, 5), Start(isFirst, sums, 7));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= CodedSteps)
        {
            if (TForm.HasCodes)
            {
                (c0, c1, c2, c3) = (TVectors.Load(weights), TVectors.Load(weights + V), TVectors.Load(weights + (2 * V)), TVectors.Load(weights + (3 * V)));
                weights += 4 * V;
            }

            var end = input + (Math.Min(CodedSteps, steps) * 2 * U);
            do
            {
                var (x, y) = (LoadInput(input), LoadInput(input + U));
                Add(weights, 0, 0, x, y, ref c0, ref a0, ref b0);
                Add(weights, 1, 0, x, y, ref c1, ref a1, ref b1);
                Add(weights, 2, 0, x, y, ref c2, ref a2, ref b2);
                Add(weights, 3, 0, x, y, ref c3, ref a3, ref b3);
                if (TValues.PerLane == 2)
                {
                    (x, y) = (LoadInput(input + (2 * U)), LoadInput(input + (3 * U)));
                    Add(weights, 0, 1, x, y, ref c0, ref a0, ref b0);
                    Add(weights, 1, 1, x, y, ref c1, ref a1, ref b1);
                    Add(weights, 2, 1, x, y, ref c2, ref a2, ref b2);
                    Add(weights, 3, 1, x, y, ref c3, ref a3, ref b3);
                }

                weights += 4 * V;
                input += TValues.PerLane * 2 * U;
            }
            while (input < end);
        }

        Store(a0, b0, sums);
        Store(a1, b1, sums + (2 * TVectors.Width));
        Store(a2, b2, sums + (4 * TVectors.Width));
        Store(a3, b3, sums + (6 * TVectors.Width));
    }

    /// <summary>One tile, four inputs.</summary>
    /// <param name="weights">As in <see cref="One"/>.</param>
    /// <param name="input">[steps, 4 inputs, U].</param>
    /// <param name="steps">As in <see cref="One"/>.</param>
    /// <param name="isFirst">As in <see cref="One"/>.</param>
    /// <param name="sums">[4 vectors, 4 inputs].</param>
    /// <param name="next">What will be wanted after this tile; fetched ahead, a line a step. May lie beyond the weight.</param>
    public static void Four(byte* weights, float* input, int steps, bool isFirst, float* sums, byte* next)
    {
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 4), Start(isFirst, sums, 8), Start(isFirst, sums, 12));
        var (b0, b1, b2, b3) = (Start(isFirst, sums, 1), Start(isFirst, sums, 5), Start(isFirst, sums, 9), Start(isFirst, sums, 13));
        var (e0, e1, e2, e3) = (Start(isFirst, sums, 2), Start(isFirst, sums, 6), Start(isFirst, sums, 10), Start(isFirst, sums, 14));
        var (f0, f1, f2, f3) = (Start(isFirst, sums, 3), Start(isFirst, sums, 7), Start(isFirst, sums, 11), Start(isFirst, sums, 15));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= CodedSteps)
        {
            if (TForm.HasCodes)
            {
                (c0, c1, c2, c3) = (TVectors.Load(weights), TVectors.Load(weights + V), TVectors.Load(weights + (2 * V)), TVectors.Load(weights + (3 * V)));
                weights += 4 * V;
            }

            var end = input + (Math.Min(CodedSteps, steps) * 4 * U);
            do
            {
                if (Sse.IsSupported)
                {
                    Sse.Prefetch1(next);
                    next += 64;
                }

                var (x, y, z, w) = (LoadInput(input), LoadInput(input + U), LoadInput(input + (2 * U)), LoadInput(input + (3 * U)));
                Add(weights, 0, 0, x, y, z, w, ref c0, ref a0, ref b0, ref e0, ref f0);
                Add(weights, 1, 0, x, y, z, w, ref c1, ref a1, ref b1, ref e1, ref f1);
                Add(weights, 2, 0, x, y, z, w, ref c2, ref a2, ref b2, ref e2, ref f2);
                Add(weights, 3, 0, x, y, z, w, ref c3, ref a3, ref b3, ref e3, ref f3);
                if (TValues.PerLane == 2)
                {
                    var odd = input + (4 * U);
                    (x, y, z, w) = (LoadInput(odd), LoadInput(odd + U), LoadInput(odd + (2 * U)), LoadInput(odd + (3 * U)));
                    Add(weights, 0, 1, x, y, z, w, ref c0, ref a0, ref b0, ref e0, ref f0);
                    Add(weights, 1, 1, x, y, z, w, ref c1, ref a1, ref b1, ref e1, ref f1);
                    Add(weights, 2, 1, x, y, z, w, ref c2, ref a2, ref b2, ref e2, ref f2);
                    Add(weights, 3, 1, x, y, z, w, ref c3, ref a3, ref b3, ref e3, ref f3);
                }

                weights += 4 * V;
                input += TValues.PerLane * 4 * U;
            }
            while (input < end);
        }

        Store(a0, b0, sums);
        Store(e0, f0, sums + (2 * TVectors.Width));
        Store(a1, b1, sums + (4 * TVectors.Width));
        Store(e1, f1, sums + (6 * TVectors.Width));
        Store(a2, b2, sums + (8 * TVectors.Width));
        Store(e2, f2, sums + (10 * TVectors.Width));
        Store(a3, b3, sums + (12 * TVectors.Width));
        Store(e3, f3, sums + (14 * TVectors.Width));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Start(bool isFirst, float* sums, int index) => isFirst ? default : TVectors.Load(sums + (index * TVectors.Width));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(TVector first, TVector second, float* sums)
    {
        TVectors.Store(first, sums);
        TVectors.Store(second, sums + TVectors.Width);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector LoadInput(float* input) => TForm.IsColumnwise ? TVectors.Broadcast(input) : TVectors.Load(input);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, int part, TVector x, ref TVector codes, ref TVector sum)
    {
        var values = TValues.Decode<TVector, TVectors>(weights + (vector * V), part);
        sum = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(x, codes) : x, values, sum);
        codes = TForm.HasCodes ? TVectors.NextCodes(codes) : codes;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, int part, TVector x, TVector y, ref TVector codes, ref TVector sumX, ref TVector sumY)
    {
        var values = TValues.Decode<TVector, TVectors>(weights + (vector * V), part);
        sumX = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(x, codes) : x, values, sumX);
        sumY = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(y, codes) : y, values, sumY);
        codes = TForm.HasCodes ? TVectors.NextCodes(codes) : codes;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        byte* weights, int vector, int part, TVector x, TVector y, TVector z, TVector w, ref TVector codes, ref TVector sumX, ref TVector sumY, ref TVector sumZ, ref TVector sumW)
    {
        var values = TValues.Decode<TVector, TVectors>(weights + (vector * V), part);
        sumX = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(x, codes) : x, values, sumX);
        sumY = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(y, codes) : y, values, sumY);
        sumZ = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(z, codes) : z, values, sumZ);
        sumW = TVectors.MultiplyAdd(TForm.HasCodes ? TVectors.Pick(w, codes) : w, values, sumW);
        codes = TForm.HasCodes ? TVectors.NextCodes(codes) : codes;
    }
}
