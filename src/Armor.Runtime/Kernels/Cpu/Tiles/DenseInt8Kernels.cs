using System.Runtime.CompilerServices;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A dense weight, or a wrapper's blocks, in 8 bits. A section is the columns that share a scale: the scales of its rows, then each step's values as bytes,
/// vector by vector; a lane has two of its row's columns. Those of a dense weight's four rows are multiplied by as many of the input as a vector has lanes
/// for, a wrapper's columns by two of the input that all lanes share. The inputs are whole numbers of 16 bits with a scale a section (see
/// <see cref="Int16Inputs"/>), so that a section is summed exactly in 32 bits and multiplied by its scales once: at most 64 products in a lane, of at most
/// 127 · 32767 each, an eighth of what a lane holds.
/// </summary>
/// <typeparam name="TVector">A vector of float32.</typeparam>
/// <typeparam name="TVectors">What it can do.</typeparam>
/// <typeparam name="TForm"><see cref="RowForm"/> or <see cref="ColumnForm"/>.</typeparam>
internal readonly unsafe partial struct DenseInt8Kernels<TVector, TVectors, TForm> : ITileKernels
    where TVector : unmanaged
    where TVectors : IVectors<TVector>
    where TForm : ITileForm
{
    private const int InputHeader = 64;

    public static TileShape Shape => new()
    {
        Width = TVectors.Width,
        RowsPerTile = TForm.RowsOf(TVectors.Width),
        ColumnsPerStep = ColumnsPerStep,
        SectionSteps = SectionSteps,
        SectionHeader = ScaleBytes,
        StepsPerRead = 1,
        ReadBytes = 2 * V,
        InputHeader = InputHeader,
        InputStepBytes = U,
        GroupSize = TVectors.GroupSize,
    };

    private static int V => TVectors.Width * sizeof(float);

    /// <summary>Bytes of an input that a step reads.</summary>
    private static int U => typeof(TForm) == typeof(ColumnForm) ? sizeof(float) : V;

    private static int ColumnsPerStep => U / sizeof(short);

    private static int SectionSteps => (typeof(TForm) == typeof(ColumnForm) ? Int8Values.WrapperGroupColumns : Int8Values.GroupColumns) / ColumnsPerStep;

    private static int ScaleBytes => TForm.RowsOf(TVectors.Width) * sizeof(float);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void One(byte* weights, byte* input, int steps, bool isFirst, float* sums)
    {
        var sectionSteps = SectionSteps;
        for (; steps > 0; steps -= sectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScale = TVectors.Broadcast((float*)input);
            weights += ScaleBytes;
            input += InputHeader;
            TVector a0 = default, a1 = default, a2 = default, a3 = default;
            var end = input + (Math.Min(sectionSteps, steps) * U);
            do
            {
                var x = LoadInput(input);
                Add(weights, 0, x, ref a0);
                Add(weights, 1, x, ref a1);
                Add(weights, 2, x, ref a2);
                Add(weights, 3, x, ref a3);
                weights += 2 * V;
                input += U;
            }
            while (input < end);

            Scale(a0, scales, 0, inputScale, isFirst, sums);
            Scale(a1, scales, 1, inputScale, isFirst, sums + TVectors.Width);
            Scale(a2, scales, 2, inputScale, isFirst, sums + (2 * TVectors.Width));
            Scale(a3, scales, 3, inputScale, isFirst, sums + (3 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void OneByTwoTiles(byte* weights, byte* others, byte* input, byte* otherInput, int steps, float* sums)
    {
        var sectionSteps = SectionSteps;
        for (var isFirst = true; steps > 0; steps -= sectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var otherScales = (float*)others;
            var inputScale = TVectors.Broadcast((float*)input);
            var otherInputScale = TVectors.Broadcast((float*)otherInput);
            weights += ScaleBytes;
            others += ScaleBytes;
            input += InputHeader;
            otherInput += InputHeader;
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            var end = input + (Math.Min(sectionSteps, steps) * U);
            do
            {
                // The two tiles may be of two blocks of a wrapper; those of a dense weight have the same input.
                var x = LoadInput(input);
                var y = typeof(TForm) == typeof(ColumnForm) ? LoadInput(otherInput) : x;
                Add(weights, 0, x, ref a0);
                Add(weights, 1, x, ref a1);
                Add(weights, 2, x, ref a2);
                Add(weights, 3, x, ref a3);
                Add(others, 0, y, ref b0);
                Add(others, 1, y, ref b1);
                Add(others, 2, y, ref b2);
                Add(others, 3, y, ref b3);
                weights += 2 * V;
                others += 2 * V;
                input += U;
                otherInput += U;
            }
            while (input < end);

            Scale(a0, scales, 0, inputScale, isFirst, sums);
            Scale(a1, scales, 1, inputScale, isFirst, sums + TVectors.Width);
            Scale(a2, scales, 2, inputScale, isFirst, sums + (2 * TVectors.Width));
            Scale(a3, scales, 3, inputScale, isFirst, sums + (3 * TVectors.Width));
            Scale(b0, otherScales, 0, otherInputScale, isFirst, sums + (4 * TVectors.Width));
            Scale(b1, otherScales, 1, otherInputScale, isFirst, sums + (5 * TVectors.Width));
            Scale(b2, otherScales, 2, otherInputScale, isFirst, sums + (6 * TVectors.Width));
            Scale(b3, otherScales, 3, otherInputScale, isFirst, sums + (7 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Two(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var sectionSteps = SectionSteps;
        for (; steps > 0; steps -= sectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            var end = input + (Math.Min(sectionSteps, steps) * 2 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y) = (LoadInput(input), LoadInput(input + U));
                Add(weights, 0, x, y, ref a0, ref b0);
                Add(weights, 1, x, y, ref a1, ref b1);
                Add(weights, 2, x, y, ref a2, ref b2);
                Add(weights, 3, x, y, ref a3, ref b3);
                weights += 2 * V;
                input += 2 * U;
            }
            while (input < end);

            var (first, second) = (TVectors.Broadcast(inputScales), TVectors.Broadcast(inputScales + 1));
            Scale(a0, scales, 0, first, isFirst, sums);
            Scale(b0, scales, 0, second, isFirst, sums + TVectors.Width);
            Scale(a1, scales, 1, first, isFirst, sums + (2 * TVectors.Width));
            Scale(b1, scales, 1, second, isFirst, sums + (3 * TVectors.Width));
            Scale(a2, scales, 2, first, isFirst, sums + (4 * TVectors.Width));
            Scale(b2, scales, 2, second, isFirst, sums + (5 * TVectors.Width));
            Scale(a3, scales, 3, first, isFirst, sums + (6 * TVectors.Width));
            Scale(b3, scales, 3, second, isFirst, sums + (7 * TVectors.Width));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four(byte* weights, byte* input, int steps, bool isFirst, float* sums, byte* next, int lines)
    {
        var sectionSteps = SectionSteps;
        for (; steps > 0; steps -= sectionSteps, isFirst = false)
        {
            var scales = (float*)weights;
            var inputScales = (float*)input;
            weights += ScaleBytes;
            input += InputHeader;
            TVector a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            TVector e0 = default, e1 = default, e2 = default, e3 = default, f0 = default, f1 = default, f2 = default, f3 = default;
            var end = input + (Math.Min(sectionSteps, steps) * 4 * U);
            do
            {
                Prefetching.Fetch(ref next, lines);
                var (x, y, z, w) = (LoadInput(input), LoadInput(input + U), LoadInput(input + (2 * U)), LoadInput(input + (3 * U)));
                Add(weights, 0, x, y, z, w, ref a0, ref b0, ref e0, ref f0);
                Add(weights, 1, x, y, z, w, ref a1, ref b1, ref e1, ref f1);
                Add(weights, 2, x, y, z, w, ref a2, ref b2, ref e2, ref f2);
                Add(weights, 3, x, y, z, w, ref a3, ref b3, ref e3, ref f3);
                weights += 2 * V;
                input += 4 * U;
            }
            while (input < end);

            Scale(a0, b0, e0, f0, scales, 0, inputScales, isFirst, sums);
            Scale(a1, b1, e1, f1, scales, 1, inputScales, isFirst, sums + (4 * TVectors.Width));
            Scale(a2, b2, e2, f2, scales, 2, inputScales, isFirst, sums + (8 * TVectors.Width));
            Scale(a3, b3, e3, f3, scales, 3, inputScales, isFirst, sums + (12 * TVectors.Width));
        }
    }

    public static void Finish(float* sums, int stride, float* output) => TForm.Finish<TVector, TVectors>(sums, stride, output);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector LoadInput(byte* input)
        => typeof(TForm) == typeof(ColumnForm) ? TVectors.Broadcast((float*)input) : *(TVector*)input;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, TVector x, ref TVector sum)
        => sum = TVectors.AddProducts(x, TVectors.LoadBytes(weights + (vector * (V / 2))), sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(byte* weights, int vector, TVector x, TVector y, ref TVector sumX, ref TVector sumY)
    {
        var values = TVectors.LoadBytes(weights + (vector * (V / 2)));
        sumX = TVectors.AddProducts(x, values, sumX);
        sumY = TVectors.AddProducts(y, values, sumY);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(
        byte* weights, int vector, TVector x, TVector y, TVector z, TVector w, ref TVector sumX, ref TVector sumY, ref TVector sumZ, ref TVector sumW)
    {
        var values = TVectors.LoadBytes(weights + (vector * (V / 2)));
        sumX = TVectors.AddProducts(x, values, sumX);
        sumY = TVectors.AddProducts(y, values, sumY);
        sumZ = TVectors.AddProducts(z, values, sumZ);
        sumW = TVectors.AddProducts(w, values, sumW);
    }

    /// <summary>A section's sum of one vector and one input, times the scales of both.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(TVector sum, float* scales, int vector, TVector inputScale, bool isFirst, float* sums)
    {
        var own = typeof(TForm) == typeof(ColumnForm) ? ((TVector*)scales)[vector] : TVectors.Broadcast(scales + vector);
        var scale = TVectors.Multiply(own, inputScale);
        TVectors.Store(TVectors.MultiplyAdd(TVectors.ToFloat32(sum), scale, isFirst ? default : *(TVector*)sums), sums);
    }

    /// <summary>One vector, four inputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Scale(
        TVector x, TVector y, TVector z, TVector w, float* scales, int vector, float* inputScales, bool isFirst, float* sums)
    {
        Scale(x, scales, vector, TVectors.Broadcast(inputScales), isFirst, sums);
        Scale(y, scales, vector, TVectors.Broadcast(inputScales + 1), isFirst, sums + TVectors.Width);
        Scale(z, scales, vector, TVectors.Broadcast(inputScales + 2), isFirst, sums + (2 * TVectors.Width));
        Scale(w, scales, vector, TVectors.Broadcast(inputScales + 3), isFirst, sums + (3 * TVectors.Width));
    }
}
