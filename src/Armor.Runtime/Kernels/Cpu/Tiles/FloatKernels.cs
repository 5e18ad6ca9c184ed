using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// Tiles of float32, bfloat16 or float16 in one of the forms. A step reads four vectors of values and what they are multiplied by: as many columns of
/// the input as there are lanes, or one column in all lanes. A section is the sixteen steps that the two-bit codes in a 32-bit lane last for. Choices
/// are comparisons of types, not of the types' properties: only so does the compiler inline all of the larger loops.
/// </summary>
internal readonly unsafe partial struct FloatKernels<TVector, TVectors, TValues, TForm> : ITileKernels
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
    where TValues : IStoredValues
    where TForm : ITileForm
{
    private const int SectionSteps = 16;

    public static TileShape Shape => new()
    {
        Width = TVectors.Width,
        RowsPerTile = TForm.RowsOf(TVectors.Width),
        ColumnsPerStep = U,
        SectionSteps = SectionSteps,
        SectionHeader = TForm.HasCodes ? 4 * V : 0,
        StepsPerRead = TValues.PerLane,
        ReadBytes = 4 * V,
        InputStepBytes = U * sizeof(float),

        // Measured: eight inputs a group help dense float32 only; for the others four by four are as fast or faster (docs/kernels.md).
        GroupSize = typeof(TForm) == typeof(RowForm) && typeof(TValues) == typeof(Float32Values) ? Math.Max(4, TVectors.GroupSize) : 4,
        HalvesTiles = TVectors.GroupSize == 2,
    };

    /// <summary>Bytes of a vector.</summary>
    private static int V => sizeof(TVector);

    /// <summary>Columns of a step.</summary>
    private static int U => typeof(TForm) == typeof(ColumnForm) ? 1 : sizeof(TVector) / sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void One(byte* weights, byte* packed, int steps, bool isFirst, float* sums)
    {
        var input = (float*)packed;
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 1), Start(isFirst, sums, 2), Start(isFirst, sums, 3));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)), *(TVector*)(weights + (2 * sizeof(TVector))), *(TVector*)(weights + (3 * sizeof(TVector))));
                weights += 4 * sizeof(TVector);
            }

            var end = input + (Math.Min(SectionSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, 0, x, ref c0, ref a0);
                Add(weights, 1, 0, x, ref c1, ref a1);
                Add(weights, 2, 0, x, ref c2, ref a2);
                Add(weights, 3, 0, x, ref c3, ref a3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    x = LoadInput(input + U);
                    Add(weights, 0, 1, x, ref c0, ref a0);
                    Add(weights, 1, 1, x, ref c1, ref a1);
                    Add(weights, 2, 1, x, ref c2, ref a2);
                    Add(weights, 3, 1, x, ref c3, ref a3);
                }

                weights += 4 * sizeof(TVector);
                input += TValues.PerLane * U;
            }
            while (input < end);
        }

        *(TVector*)sums = a0;
        *(TVector*)(sums + TVectors.Width) = a1;
        *(TVector*)(sums + (2 * TVectors.Width)) = a2;
        *(TVector*)(sums + (3 * TVectors.Width)) = a3;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void OneByTwoTiles(byte* weights, byte* others, byte* packed, byte* otherPacked, int steps, float* sums)
    {
        if (TVectors.GroupSize == 2)
        {
            OneByTwoTilesInTurns(weights, others, packed, otherPacked, steps, sums);
            return;
        }

        var input = (float*)packed;

        // Asked for here: at the end of the loop the compiler would inline no more.
        var stride = TValues.PerLane * U;
        var otherInput = (float*)otherPacked;
        TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        TVector c0 = default, c1 = default, c2 = default, c3 = default, d0 = default, d1 = default, d2 = default, d3 = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)), *(TVector*)(weights + (2 * sizeof(TVector))), *(TVector*)(weights + (3 * sizeof(TVector))));
                (d0, d1, d2, d3) = (*(TVector*)others, *(TVector*)(others + sizeof(TVector)), *(TVector*)(others + (2 * sizeof(TVector))), *(TVector*)(others + (3 * sizeof(TVector))));
                weights += 4 * sizeof(TVector);
                others += 4 * sizeof(TVector);
            }

            var end = input + (Math.Min(SectionSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, 0, x, ref c0, ref a0);
                Add(weights, 1, 0, x, ref c1, ref a1);
                Add(weights, 2, 0, x, ref c2, ref a2);
                Add(weights, 3, 0, x, ref c3, ref a3);
                x = typeof(TForm) == typeof(ColumnForm) ? LoadInput(otherInput) : x;
                Add(others, 0, 0, x, ref d0, ref b0);
                Add(others, 1, 0, x, ref d1, ref b1);
                Add(others, 2, 0, x, ref d2, ref b2);
                Add(others, 3, 0, x, ref d3, ref b3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    x = LoadInput(input + U);
                    Add(weights, 0, 1, x, ref c0, ref a0);
                    Add(weights, 1, 1, x, ref c1, ref a1);
                    Add(weights, 2, 1, x, ref c2, ref a2);
                    Add(weights, 3, 1, x, ref c3, ref a3);
                    x = typeof(TForm) == typeof(ColumnForm) ? LoadInput(otherInput + U) : x;
                    Add(others, 0, 1, x, ref d0, ref b0);
                    Add(others, 1, 1, x, ref d1, ref b1);
                    Add(others, 2, 1, x, ref d2, ref b2);
                    Add(others, 3, 1, x, ref d3, ref b3);
                }

                weights += 4 * sizeof(TVector);
                others += 4 * sizeof(TVector);
                input += stride;
                otherInput += stride;
            }
            while (input < end);
        }

        *(TVector*)sums = a0;
        *(TVector*)(sums + TVectors.Width) = a1;
        *(TVector*)(sums + (2 * TVectors.Width)) = a2;
        *(TVector*)(sums + (3 * TVectors.Width)) = a3;
        *(TVector*)(sums + (4 * TVectors.Width)) = b0;
        *(TVector*)(sums + (5 * TVectors.Width)) = b1;
        *(TVector*)(sums + (6 * TVectors.Width)) = b2;
        *(TVector*)(sums + (7 * TVectors.Width)) = b3;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Two(byte* weights, byte* packed, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var input = (float*)packed;
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 2), Start(isFirst, sums, 4), Start(isFirst, sums, 6));
        var (b0, b1, b2, b3) = (Start(isFirst, sums, 1), Start(isFirst, sums, 3), Start(isFirst, sums, 5), Start(isFirst, sums, 7));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)), *(TVector*)(weights + (2 * sizeof(TVector))), *(TVector*)(weights + (3 * sizeof(TVector))));
                weights += 4 * sizeof(TVector);
                Prefetching.Fetch(ref next, lines);
            }

            var end = input + (Math.Min(SectionSteps, steps) * 2 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y) = (LoadInput(input), LoadInput(input + U));
                Add(weights, 0, 0, x, y, ref c0, ref a0, ref b0);
                Add(weights, 1, 0, x, y, ref c1, ref a1, ref b1);
                Add(weights, 2, 0, x, y, ref c2, ref a2, ref b2);
                Add(weights, 3, 0, x, y, ref c3, ref a3, ref b3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    (x, y) = (LoadInput(input + (2 * U)), LoadInput(input + (3 * U)));
                    Add(weights, 0, 1, x, y, ref c0, ref a0, ref b0);
                    Add(weights, 1, 1, x, y, ref c1, ref a1, ref b1);
                    Add(weights, 2, 1, x, y, ref c2, ref a2, ref b2);
                    Add(weights, 3, 1, x, y, ref c3, ref a3, ref b3);
                }

                weights += 4 * sizeof(TVector);
                input += TValues.PerLane * 2 * U;
            }
            while (input < end);
        }

        Store(a0, b0, sums);
        Store(a1, b1, sums + (2 * TVectors.Width));
        Store(a2, b2, sums + (4 * TVectors.Width));
        Store(a3, b3, sums + (6 * TVectors.Width));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four(byte* weights, byte* packed, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        if (TVectors.GroupSize == 2)
        {
            next = FourByHalf(weights, packed, steps, isFirst, sums, next, lines / 2);
            FourByHalf(weights + (2 * sizeof(TVector)), packed, steps, isFirst, sums + (8 * TVectors.Width), next, lines / 2);
            return;
        }

        var input = (float*)packed;

        // Asked for here: at the end of the loop the compiler would inline no more.
        var stride = TValues.PerLane * 4 * U;
        var (a0, a1, a2, a3) = (Start(isFirst, sums, 0), Start(isFirst, sums, 4), Start(isFirst, sums, 8), Start(isFirst, sums, 12));
        var (b0, b1, b2, b3) = (Start(isFirst, sums, 1), Start(isFirst, sums, 5), Start(isFirst, sums, 9), Start(isFirst, sums, 13));
        var (e0, e1, e2, e3) = (Start(isFirst, sums, 2), Start(isFirst, sums, 6), Start(isFirst, sums, 10), Start(isFirst, sums, 14));
        var (f0, f1, f2, f3) = (Start(isFirst, sums, 3), Start(isFirst, sums, 7), Start(isFirst, sums, 11), Start(isFirst, sums, 15));
        TVector c0 = default, c1 = default, c2 = default, c3 = default;
        for (; steps > 0; steps -= SectionSteps)
        {
            if (typeof(TForm) == typeof(PairForm))
            {
                (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + sizeof(TVector)), *(TVector*)(weights + (2 * sizeof(TVector))), *(TVector*)(weights + (3 * sizeof(TVector))));
                weights += 4 * sizeof(TVector);
                Prefetching.Fetch(ref next, lines);
            }

            var end = input + (Math.Min(SectionSteps, steps) * 4 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y, z, w) = (LoadInput(input), LoadInput(input + U), LoadInput(input + (2 * U)), LoadInput(input + (3 * U)));
                Add(weights, 0, 0, x, y, z, w, ref c0, ref a0, ref b0, ref e0, ref f0);
                Add(weights, 1, 0, x, y, z, w, ref c1, ref a1, ref b1, ref e1, ref f1);
                Add(weights, 2, 0, x, y, z, w, ref c2, ref a2, ref b2, ref e2, ref f2);
                Add(weights, 3, 0, x, y, z, w, ref c3, ref a3, ref b3, ref e3, ref f3);
                if (typeof(TValues) != typeof(Float32Values))
                {
                    var odd = input + (4 * U);
                    (x, y, z, w) = (LoadInput(odd), LoadInput(odd + U), LoadInput(odd + (2 * U)), LoadInput(odd + (3 * U)));
                    Add(weights, 0, 1, x, y, z, w, ref c0, ref a0, ref b0, ref e0, ref f0);
                    Add(weights, 1, 1, x, y, z, w, ref c1, ref a1, ref b1, ref e1, ref f1);
                    Add(weights, 2, 1, x, y, z, w, ref c2, ref a2, ref b2, ref e2, ref f2);
                    Add(weights, 3, 1, x, y, z, w, ref c3, ref a3, ref b3, ref e3, ref f3);
                }

                weights += 4 * sizeof(TVector);
                input += stride;
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

    public static void Finish(float* sums, int stride, float* output) => TForm.Finish<TVector, TVectors>(sums, stride, output);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Start(bool isFirst, float* sums, int index) => isFirst ? default : ((TVector*)sums)[index];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(TVector first, TVector second, float* sums)
    {
        *(TVector*)sums = first;
        *(TVector*)(sums + TVectors.Width) = second;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector LoadInput(float* input) => typeof(TForm) == typeof(ColumnForm) ? TVectors.Broadcast(input) : *(TVector*)input;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector LoadValues(byte* weights, int vector, int part)
    {
        var stored = *(TVector*)(weights + (vector * sizeof(TVector)));
        return typeof(TValues) == typeof(Float32Values) ? stored
            : typeof(TValues) == typeof(BFloat16Values) ? TVectors.DecodeBFloat16(stored, part)
            : TVectors.DecodeFloat16(stored, part);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Kept(TVector input, TVector codes) => typeof(TForm) == typeof(PairForm) ? TVectors.Pick(input, codes) : input;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void MoveOn(ref TVector codes)
    {
        if (typeof(TForm) == typeof(PairForm))
        {
            codes = TVectors.NextCodes(codes);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, int part, TVector x, ref TVector codes, ref TVector sum)
    {
        var values = LoadValues(weights, vector, part);
        sum = TVectors.MultiplyAdd(Kept(x, codes), values, sum);
        MoveOn(ref codes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, int part, TVector x, TVector y, ref TVector codes, ref TVector sumX, ref TVector sumY)
    {
        var values = LoadValues(weights, vector, part);
        sumX = TVectors.MultiplyAdd(Kept(x, codes), values, sumX);
        sumY = TVectors.MultiplyAdd(Kept(y, codes), values, sumY);
        MoveOn(ref codes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        byte* weights, int vector, int part, TVector x, TVector y, TVector z, TVector w, ref TVector codes, ref TVector sumX, ref TVector sumY, ref TVector sumZ, ref TVector sumW)
    {
        var values = LoadValues(weights, vector, part);
        sumX = TVectors.MultiplyAdd(Kept(x, codes), values, sumX);
        sumY = TVectors.MultiplyAdd(Kept(y, codes), values, sumY);
        sumZ = TVectors.MultiplyAdd(Kept(z, codes), values, sumZ);
        sumW = TVectors.MultiplyAdd(Kept(w, codes), values, sumW);
        MoveOn(ref codes);
    }
}
