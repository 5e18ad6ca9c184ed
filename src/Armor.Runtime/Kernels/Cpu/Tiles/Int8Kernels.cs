using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A quantised 2:4 core. A section is what the four-bit patterns in a 32-bit lane last for, eight steps: its 8 rows' scales, four vectors of patterns,
/// then each step's values as bytes. The inputs are whole numbers of 16 bits with a scale a section (see <see cref="Int16Inputs"/>), so that a section
/// is summed exactly in 32 bits and multiplied by its scales once. Each 128-bit part is two groups of four columns of a pair of rows: [first row's first
/// group, its second, second row's first, its second], of two products each.
/// </summary>
internal readonly unsafe partial struct Int8Kernels<TVector, TVectors> : ITileKernels
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
{
    public const int SectionSteps = 8;
    public const int InputHeader = 64;
    private const int ScaleBytes = 8 * sizeof(float);

    public static TileShape Shape => new()
    {
        Width = TVectors.Width,
        RowsPerTile = 8,
        ColumnsPerStep = 2 * TVectors.Width,
        SectionSteps = SectionSteps,
        SectionHeader = ScaleBytes + (4 * V),
        StepsPerRead = 1,
        ReadBytes = 2 * V,
        InputHeader = InputHeader,
        InputStepBytes = V,
        GroupSize = TVectors.GroupSize,
    };

    private static int V => TVectors.Width * sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void One(byte* weights, byte* input, int steps, bool isFirst, float* sums)
    {
        var table = TVectors.PatternTable();
        for (; steps > 0; steps -= SectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            var (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + V), *(TVector*)(weights + (2 * V)), *(TVector*)(weights + (3 * V)));
            weights += 4 * V;
            TVector a0 = default, a1 = default, a2 = default, a3 = default;
            var end = input + (Math.Min(SectionSteps, steps) * V);
            do
            {
                var x = *(TVector*)input;
                Add(weights, 0, table, x, ref c0, ref a0);
                Add(weights, 1, table, x, ref c1, ref a1);
                Add(weights, 2, table, x, ref c2, ref a2);
                Add(weights, 3, table, x, ref c3, ref a3);
                weights += 2 * V;
                input += V;
            }
            while (input < end);

            Scale(a0, scales, inputScales[0], isFirst, sums);
            Scale(a1, scales + 2, inputScales[0], isFirst, sums + TVectors.Width);
            Scale(a2, scales + 4, inputScales[0], isFirst, sums + (2 * TVectors.Width));
            Scale(a3, scales + 6, inputScales[0], isFirst, sums + (3 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void OneByTwoTiles(byte* weights, byte* others, byte* input, byte* otherInput, int steps, float* sums)
    {
        var table = TVectors.PatternTable();
        for (var isFirst = true; steps > 0; steps -= SectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var otherScales = (float*)others;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            others += ScaleBytes;
            input += InputHeader;
            var (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + V), *(TVector*)(weights + (2 * V)), *(TVector*)(weights + (3 * V)));
            var (d0, d1, d2, d3) = (*(TVector*)others, *(TVector*)(others + V), *(TVector*)(others + (2 * V)), *(TVector*)(others + (3 * V)));
            weights += 4 * V;
            others += 4 * V;
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            var end = input + (Math.Min(SectionSteps, steps) * V);
            do
            {
                var x = *(TVector*)input;
                Add(weights, 0, table, x, ref c0, ref a0);
                Add(weights, 1, table, x, ref c1, ref a1);
                Add(weights, 2, table, x, ref c2, ref a2);
                Add(weights, 3, table, x, ref c3, ref a3);
                Add(others, 0, table, x, ref d0, ref b0);
                Add(others, 1, table, x, ref d1, ref b1);
                Add(others, 2, table, x, ref d2, ref b2);
                Add(others, 3, table, x, ref d3, ref b3);
                weights += 2 * V;
                others += 2 * V;
                input += V;
            }
            while (input < end);

            Scale(a0, scales, inputScales[0], isFirst, sums);
            Scale(a1, scales + 2, inputScales[0], isFirst, sums + TVectors.Width);
            Scale(a2, scales + 4, inputScales[0], isFirst, sums + (2 * TVectors.Width));
            Scale(a3, scales + 6, inputScales[0], isFirst, sums + (3 * TVectors.Width));
            Scale(b0, otherScales, inputScales[0], isFirst, sums + (4 * TVectors.Width));
            Scale(b1, otherScales + 2, inputScales[0], isFirst, sums + (5 * TVectors.Width));
            Scale(b2, otherScales + 4, inputScales[0], isFirst, sums + (6 * TVectors.Width));
            Scale(b3, otherScales + 6, inputScales[0], isFirst, sums + (7 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Two(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var table = TVectors.PatternTable();
        for (; steps > 0; steps -= SectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            var (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + V), *(TVector*)(weights + (2 * V)), *(TVector*)(weights + (3 * V)));
            weights += 4 * V;
            Prefetching.Fetch(ref next, 2 * lines);
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            var end = input + (Math.Min(SectionSteps, steps) * 2 * V);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y) = (*(TVector*)input, *(TVector*)(input + V));
                Add(weights, 0, table, x, y, ref c0, ref a0, ref b0);
                Add(weights, 1, table, x, y, ref c1, ref a1, ref b1);
                Add(weights, 2, table, x, y, ref c2, ref a2, ref b2);
                Add(weights, 3, table, x, y, ref c3, ref a3, ref b3);
                weights += 2 * V;
                input += 2 * V;
            }
            while (input < end);

            Scale(a0, b0, scales, inputScales, isFirst, sums);
            Scale(a1, b1, scales + 2, inputScales, isFirst, sums + (2 * TVectors.Width));
            Scale(a2, b2, scales + 4, inputScales, isFirst, sums + (4 * TVectors.Width));
            Scale(a3, b3, scales + 6, inputScales, isFirst, sums + (6 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var table = TVectors.PatternTable();
        for (; steps > 0; steps -= SectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            var (c0, c1, c2, c3) = (*(TVector*)weights, *(TVector*)(weights + V), *(TVector*)(weights + (2 * V)), *(TVector*)(weights + (3 * V)));
            weights += 4 * V;
            Prefetching.Fetch(ref next, 2 * lines);
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            TVector e0 = default, e1 = default, e2 = default, e3 = default, f0 = default, f1 = default, f2 = default, f3 = default;
            var end = input + (Math.Min(SectionSteps, steps) * 4 * V);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y, z, w) = (*(TVector*)input, *(TVector*)(input + V), *(TVector*)(input + (2 * V)), *(TVector*)(input + (3 * V)));
                Add(weights, 0, table, x, y, z, w, ref c0, ref a0, ref b0, ref e0, ref f0);
                Add(weights, 1, table, x, y, z, w, ref c1, ref a1, ref b1, ref e1, ref f1);
                Add(weights, 2, table, x, y, z, w, ref c2, ref a2, ref b2, ref e2, ref f2);
                Add(weights, 3, table, x, y, z, w, ref c3, ref a3, ref b3, ref e3, ref f3);
                weights += 2 * V;
                input += 4 * V;
            }
            while (input < end);

            Scale(a0, b0, scales, inputScales, isFirst, sums);
            Scale(e0, f0, scales, inputScales + 2, isFirst, sums + (2 * TVectors.Width));
            Scale(a1, b1, scales + 2, inputScales, isFirst, sums + (4 * TVectors.Width));
            Scale(e1, f1, scales + 2, inputScales + 2, isFirst, sums + (6 * TVectors.Width));
            Scale(a2, b2, scales + 4, inputScales, isFirst, sums + (8 * TVectors.Width));
            Scale(e2, f2, scales + 4, inputScales + 2, isFirst, sums + (10 * TVectors.Width));
            Scale(a3, b3, scales + 6, inputScales, isFirst, sums + (12 * TVectors.Width));
            Scale(e3, f3, scales + 6, inputScales + 2, isFirst, sums + (14 * TVectors.Width));
        }
    }

    public static void Finish(float* sums, int stride, float* output) => PairForm.Finish<TVector, TVectors>(sums, stride, output);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, TVector table, TVector x, ref TVector patterns, ref TVector sum)
    {
        var values = TVectors.LoadBytes(weights + (vector * (V / 2)));
        sum = TVectors.AddProducts(TVectors.PickPairs(x, TVectors.ControlsOf(patterns, table)), values, sum);
        patterns = TVectors.NextPatterns(patterns);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, TVector table, TVector x, TVector y, ref TVector patterns, ref TVector sumX, ref TVector sumY)
    {
        var values = TVectors.LoadBytes(weights + (vector * (V / 2)));
        var controls = TVectors.ControlsOf(patterns, table);
        sumX = TVectors.AddProducts(TVectors.PickPairs(x, controls), values, sumX);
        sumY = TVectors.AddProducts(TVectors.PickPairs(y, controls), values, sumY);
        patterns = TVectors.NextPatterns(patterns);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        byte* weights, int vector, TVector table, TVector x, TVector y, TVector z, TVector w, ref TVector patterns, ref TVector sumX, ref TVector sumY, ref TVector sumZ, ref TVector sumW)
    {
        var values = TVectors.LoadBytes(weights + (vector * (V / 2)));
        var controls = TVectors.ControlsOf(patterns, table);
        sumX = TVectors.AddProducts(TVectors.PickPairs(x, controls), values, sumX);
        sumY = TVectors.AddProducts(TVectors.PickPairs(y, controls), values, sumY);
        sumZ = TVectors.AddProducts(TVectors.PickPairs(z, controls), values, sumZ);
        sumW = TVectors.AddProducts(TVectors.PickPairs(w, controls), values, sumW);
        patterns = TVectors.NextPatterns(patterns);
    }

    /// <summary>A section's sum of one input times the scales of its pair of rows and of the input.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(TVector sum, float* pairScales, float inputScale, bool isFirst, float* sums)
    {
        var scale = TVectors.PairScales(pairScales[0] * inputScale, pairScales[1] * inputScale);
        TVectors.Store(TVectors.MultiplyAdd(TVectors.ToFloat32(sum), scale, isFirst ? default : *(TVector*)sums), sums);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(TVector first, TVector second, float* pairScales, float* inputScales, bool isFirst, float* sums)
    {
        Scale(first, pairScales, inputScales[0], isFirst, sums);
        Scale(second, pairScales, inputScales[1], isFirst, sums + TVectors.Width);
    }
}
