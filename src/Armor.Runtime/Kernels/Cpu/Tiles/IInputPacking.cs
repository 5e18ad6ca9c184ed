using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>How inputs are brought into the order in which tiles read them (see <see cref="TileLayout"/>).</summary>
internal unsafe interface IInputPacking
{
    /// <summary>Whether a single input of a matrix of whole steps can be read where it is.</summary>
    static abstract bool IsCopy { get; }

    /// <summary>Packs sections of one input.</summary>
    /// <param name="layout">Of the matrix.</param>
    /// <param name="input">The block's columns of the input; null for zeros.</param>
    /// <param name="firstSection">The first section of the block.</param>
    /// <param name="endSection">The one after the last.</param>
    /// <param name="packed">The block in the packed group.</param>
    /// <param name="member">Which input of the group.</param>
    /// <param name="room">Inputs that the group has room for.</param>
    static abstract void Pack(TileLayout layout, float* input, int firstSection, int endSection, byte* packed, int member, int room);
}

/// <summary>Inputs as float32: for each step every input's columns.</summary>
internal readonly unsafe struct Float32Inputs : IInputPacking
{
    public static bool IsCopy => true;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(TileLayout layout, float* input, int firstSection, int endSection, byte* packed, int member, int room)
    {
        var shape = layout.Shape;
        var unit = shape.ColumnsPerStep;
        var first = firstSection * shape.SectionSteps;
        var end = Math.Min(layout.Steps, endSection * shape.SectionSteps);
        var to = (float*)(packed + layout.InputSectionAt(first, room)) + (member * unit);
        if (unit == 1)
        {
            PackColumns(input is null ? 0 : Math.Clamp(layout.Columns - first, 0, end - first), input + first, end - first, to, room);
            return;
        }

        for (var step = first; step < end; step++, to += unit * room)
        {
            var column = step * unit;
            var count = input is null ? 0 : Math.Clamp(layout.Columns - column, 0, unit);
            if (count == unit)
            {
                new ReadOnlySpan<float>(input + column, unit).CopyTo(new Span<float>(to, unit));
            }
            else
            {
                new ReadOnlySpan<float>(input + column, count).CopyTo(new Span<float>(to, unit));
                new Span<float>(to + count, unit - count).Clear();
            }
        }
    }

    /// <summary>One value a step, then zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackColumns(int count, float* input, int steps, float* to, int room)
    {
        var step = 0;
        for (; step < count - 3; step += 4, to += 4 * room)
        {
            to[0] = input[step];
            to[room] = input[step + 1];
            to[2 * room] = input[step + 2];
            to[3 * room] = input[step + 3];
        }

        for (; step < steps; step++, to += room)
        {
            *to = step < count ? input[step] : 0;
        }
    }
}

/// <summary>
/// Inputs as whole numbers of 16 bits, each section of an input with a scale: its largest magnitude is 32767 of them, so that rounding adds 1/65534 of
/// that at most. The section's header holds the scales.
/// </summary>
internal readonly unsafe struct Int16Inputs : IInputPacking
{
    private const float Largest = short.MaxValue;

    public static bool IsCopy => false;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(TileLayout layout, float* input, int firstSection, int endSection, byte* packed, int member, int room)
    {
        var shape = layout.Shape;
        for (var section = firstSection; section < endSection; section++)
        {
            var first = section * shape.SectionSteps;
            var steps = Math.Min(shape.SectionSteps, layout.Steps - first);
            var header = packed + layout.InputSectionAt(first, room);
            var column = first * shape.ColumnsPerStep;
            var values = new ReadOnlySpan<float>(input + column, input is null ? 0 : Math.Min(layout.Columns - column, steps * shape.ColumnsPerStep));
            var largest = LargestMagnitude(values);
            var isUsual = largest is > 0 and < float.PositiveInfinity && float.IsFinite(Largest / largest);
            ((float*)header)[member] = isUsual ? largest / Largest : largest;
            var inverse = isUsual ? Largest / largest : 0;
            var to = (short*)(header + shape.InputHeader + (member * shape.InputStepBytes));
            if (shape.InputStepBytes == sizeof(int))
            {
                PackPairs(values, inverse, steps, (int*)to, room);
                continue;
            }

            for (var step = 0; step < steps; step++, to += shape.InputStepBytes / sizeof(short) * room)
            {
                var start = Math.Min(values.Length, step * shape.ColumnsPerStep);
                Round(values[start..Math.Min(values.Length, start + shape.ColumnsPerStep)], inverse, new Span<short>(to, shape.ColumnsPerStep));
            }
        }
    }

    /// <summary>Two values a step: rounded together, as a step has too few for a vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackPairs(ReadOnlySpan<float> values, float inverse, int steps, int* to, int room)
    {
        if (room == 1)
        {
            Round(values, inverse, new Span<short>(to, 2 * steps));
            return;
        }

        var pairs = stackalloc int[steps];
        Round(values, inverse, new Span<short>(pairs, 2 * steps));
        for (var step = 0; step < steps; step++, to += room)
        {
            *to = pairs[step];
        }
    }

    /// <summary>NaN if there is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float LargestMagnitude(ReadOnlySpan<float> values)
    {
        var lanes = Vector128<float>.Zero;
        var i = 0;
        for (; i <= values.Length - Vector128<float>.Count; i += Vector128<float>.Count)
        {
            lanes = Vector128.Max(lanes, Vector128.Abs(Vector128.Create(values[i..])));
        }

        var largest = Math.Max(Math.Max(lanes[0], lanes[1]), Math.Max(lanes[2], lanes[3]));
        for (; i < values.Length; i++)
        {
            largest = Math.Max(largest, Math.Abs(values[i]));
        }

        return largest;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Round(ReadOnlySpan<float> values, float inverse, Span<short> rounded)
    {
        var i = 0;
        for (; i <= values.Length - Vector128<short>.Count; i += Vector128<short>.Count)
        {
            var low = Vector128.ConvertToInt32(Vector128.Round(Vector128.Create(values[i..]) * inverse));
            var high = Vector128.ConvertToInt32(Vector128.Round(Vector128.Create(values[(i + 4)..]) * inverse));
            Vector128.Narrow(low, high).CopyTo(rounded[i..]);
        }

        for (; i < values.Length; i++)
        {
            rounded[i] = (short)MathF.Round(values[i] * inverse);
        }

        rounded[values.Length..].Clear();
    }
}
