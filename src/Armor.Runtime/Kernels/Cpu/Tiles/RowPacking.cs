using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// Puts a row of a matrix, already in its stored type, at its places in a tile (see <see cref="TileLayout"/>). Places beyond the last column are left
/// alone. Words of two values or four bytes are moved as one: the processor keeps up with reading the file.
/// </summary>
internal static unsafe class RowPacking
{
    /// <summary>From a group's mask to its two codes, the second one in the upper half.</summary>
    private static readonly ulong[] Codes = [.. Enumerable.Range(0, 16).Select(mask => int.PopCount(mask) == 2
        ? (uint)int.TrailingZeroCount(mask) | ((ulong)int.Log2(mask) << 32) : 0)];

    /// <summary>From two groups' masks to their patterns, the second one in the upper half; nothing for a group that is not there.</summary>
    private static readonly ulong[] Patterns = [.. Enumerable.Range(0, 256).Select(masks =>
        (int.PopCount(masks & 0xF) == 2 ? (ulong)PairPatterns.Of(masks & 0xF) : 0)
        | (int.PopCount(masks >> 4) == 2 ? (ulong)(PairPatterns.Of(masks >> 4) + 8) << 32 : 0))];

    /// <summary>A dense row of 32-bit values: a vector of the tile holds as many columns as it has lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Dense(TileLayout layout, byte* tile, int row, ReadOnlySpan<uint> values)
    {
        var width = layout.Shape.Width;
        for (var step = 0; step < layout.Steps; step++)
        {
            var lanes = new Span<uint>(tile + layout.ValuesAt(step) + (row * layout.Shape.VectorBytes), width);
            values[(step * width)..Math.Min(values.Length, (step + 1) * width)].CopyTo(lanes);
        }
    }

    /// <summary>A dense row of 16-bit values: two steps in the two halves of the lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Dense(TileLayout layout, byte* tile, int row, ReadOnlySpan<ushort> values)
    {
        var width = layout.Shape.Width;
        for (var step = 0; step < layout.Steps; step += 2)
        {
            var lanes = new Span<uint>(tile + layout.ValuesAt(step) + (row * layout.Shape.VectorBytes), width);
            var low = values[(step * width)..Math.Min(values.Length, (step + 1) * width)];
            var high = values[((step * width) + low.Length)..Math.Min(values.Length, (step + 2) * width)];
            var lane = 0;
            for (; lane <= high.Length - Vector128<uint>.Count; lane += Vector128<uint>.Count)
            {
                (Widened(low[lane..]) | Vector128.ShiftLeft(Widened(high[lane..]), 16)).CopyTo(lanes[lane..]);
            }

            for (; lane < low.Length; lane++)
            {
                lanes[lane] = low[lane] | (lane < high.Length ? (uint)high[lane] << 16 : 0);
            }
        }
    }

    /// <summary>A dense row in 8 bits: a section's scale, then as many bytes a step as it has columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Dense(TileLayout layout, byte* tile, int row, ReadOnlySpan<sbyte> values, ReadOnlySpan<float> scales)
    {
        var unit = layout.Shape.ColumnsPerStep;
        for (var section = 0; section < layout.Sections; section++)
        {
            ((float*)(tile + layout.SectionAt(section * layout.Shape.SectionSteps)))[row] = scales[section];
        }

        for (var step = 0; step < layout.Steps; step++)
        {
            var bytes = new Span<sbyte>(tile + layout.ValuesAt(step) + (row * unit), unit);
            values[(step * unit)..Math.Min(values.Length, (step + 1) * unit)].CopyTo(bytes);
        }
    }

    /// <summary>
    /// A row of a 2:4 core: of each group of columns its kept values, and their places as codes of two bits, at the row's half of a 128-bit part of its
    /// pair's vector.
    /// </summary>
    /// <param name="layout">Of the matrix.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="row">Of the tile.</param>
    /// <param name="stored">The row's kept values in the layout's type.</param>
    /// <param name="mask">The row's mask, a bit a column.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Core(TileLayout layout, byte* tile, int row, byte* stored, byte* mask)
    {
        var shape = layout.Shape;
        var groups = layout.Columns / 4;
        var perStep = shape.Width / 4;
        var place = (row / 2 * shape.VectorBytes) + (row % 2 * sizeof(ulong));
        for (var first = 0; first < layout.Steps; first += shape.SectionSteps)
        {
            var steps = Math.Min(shape.SectionSteps, layout.Steps - first);
            var codes = tile + layout.SectionAt(first) + place;
            var values = tile + layout.ValuesAt(first) + place;
            for (var part = 0; part < perStep; part++, codes += Vector128<byte>.Count, values += Vector128<byte>.Count)
            {
                var group = (first * perStep) + part;
                *(ulong*)codes = CodesOf(mask, group, Math.Min(groups, group + (steps * perStep)), perStep);
                if (shape.StepsPerRead == 1)
                {
                    Core32((ulong*)stored, group, Math.Min(groups, group + (steps * perStep)), perStep, values, shape.ReadBytes);
                }
                else
                {
                    Core16((uint*)stored, group, Math.Min(groups, group + (steps * perStep)), perStep, values, shape.ReadBytes);
                }
            }
        }
    }

    /// <summary>A row of a quantised 2:4 core: the same in patterns of four bits, a step two groups in each 128-bit part, and its two bytes a group.</summary>
    /// <param name="layout">Of the matrix.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="row">Of the tile.</param>
    /// <param name="stored">The row's kept values.</param>
    /// <param name="mask">The row's mask, a bit a column.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void QuantisedCore(TileLayout layout, byte* tile, int row, byte* stored, byte* mask)
    {
        var shape = layout.Shape;
        var (whole, all) = (layout.Columns / 8, (layout.Columns + 7) / 8);
        var perStep = shape.Width / 4;
        for (var first = 0; first < layout.Steps; first += shape.SectionSteps)
        {
            var steps = Math.Min(shape.SectionSteps, layout.Steps - first);
            var header = tile + layout.ValuesAt(first);
            var patterns = (ulong*)(header - (4 * shape.VectorBytes) + (row / 2 * shape.VectorBytes) + (row % 2 * sizeof(ulong)));
            var values = header + (row / 2 * shape.VectorBytes / 2) + (row % 2 * sizeof(uint));
            for (var part = 0; part < perStep; part++, patterns += 2, values += sizeof(ulong))
            {
                var pair = (first * perStep) + part;
                var end = Math.Min(all, pair + (steps * perStep));
                ulong own = 0;
                var to = values;
                for (var shift = 0; pair < end; pair += perStep, shift += 4, to += shape.ReadBytes)
                {
                    own |= Patterns[mask[pair]] << shift;
                    if (pair < whole)
                    {
                        *(uint*)to = ((uint*)stored)[pair];
                    }
                    else
                    {
                        *(ushort*)to = *(ushort*)(stored + (4L * pair));
                    }
                }

                *patterns = own;
            }
        }
    }

    /// <summary>Rows of a block of a wrapper, column by column: a row has its lane in every step.</summary>
    /// <param name="layout">Of the matrix.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="rows">How many; the tile's first ones.</param>
    /// <param name="stored">Row after row in the layout's type.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Block(TileLayout layout, byte* tile, int rows, ReadOnlySpan<byte> stored)
    {
        var rowBytes = stored.Length / rows;
        fixed (byte* source = stored)
        {
            for (var step = 0; step < layout.Steps; step += layout.Shape.StepsPerRead)
            {
                var lanes = (uint*)(tile + layout.ValuesAt(step));
                var from = source + (step / layout.Shape.StepsPerRead * sizeof(uint));

                // Of an odd number of columns, the last read has one value of 16 bits only.
                var isWhole = step + layout.Shape.StepsPerRead <= layout.Columns;
                for (var row = 0; row < rows; row++, from += rowBytes)
                {
                    lanes[row] = isWhole ? *(uint*)from : *(ushort*)from;
                }
            }
        }
    }

    /// <summary>A row of a block of a wrapper in 8 bits: a section's scale, then two bytes at the row's lane in every step.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Block(TileLayout layout, byte* tile, int row, ReadOnlySpan<sbyte> values, ReadOnlySpan<float> scales)
    {
        for (var section = 0; section < layout.Sections; section++)
        {
            ((float*)(tile + layout.SectionAt(section * layout.Shape.SectionSteps)))[row] = scales[section];
        }

        for (var column = 0; column < values.Length; column++)
        {
            *(sbyte*)(tile + layout.ValuesAt(column / 2) + (2 * row) + (column % 2)) = values[column];
        }
    }

    /// <summary>Reads a row of a dense weight back, as it is stored.</summary>
    /// <param name="layout">Of the matrix.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="row">Of the tile.</param>
    /// <param name="size">Bytes of a value: 2 or 4.</param>
    /// <param name="stored">Room for a row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void CopyDense(TileLayout layout, byte* tile, int row, int size, byte* stored)
    {
        var shape = layout.Shape;
        for (var step = 0; step < layout.Steps; step++)
        {
            var from = tile + layout.ValuesAt(step) + (row * shape.VectorBytes) + (step % shape.StepsPerRead * size);
            var count = Math.Min(shape.Width, layout.Columns - (step * shape.Width));
            for (var lane = 0; lane < count; lane++, from += sizeof(float), stored += size)
            {
                if (size == sizeof(float))
                {
                    *(uint*)stored = *(uint*)from;
                }
                else
                {
                    *(ushort*)stored = *(ushort*)from;
                }
            }
        }
    }

    /// <summary>Reads a row of a dense weight in 8 bits back, times its scales.</summary>
    public static void CopyDenseInt8(TileLayout layout, byte* tile, int row, Span<float> destination)
    {
        var unit = layout.Shape.ColumnsPerStep;
        for (var column = 0; column < destination.Length; column++)
        {
            var section = column / Int8Values.GroupColumns * layout.Shape.SectionSteps;
            var value = *(sbyte*)(tile + layout.ValuesAt(column / unit) + (row * unit) + (column % unit));
            destination[column] = value * ((float*)(tile + layout.SectionAt(section)))[row];
        }
    }

    /// <summary>The codes of every so many groups, two bits a step.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong CodesOf(byte* mask, int group, int end, int perStep)
    {
        ulong codes = 0;
        for (var shift = 0; group < end; group += perStep, shift += 2)
        {
            codes |= Codes[(mask[group >> 1] >> ((group & 1) * 4)) & 0xF] << shift;
        }

        return codes;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Core32(ulong* stored, int group, int end, int perStep, byte* to, int stride)
    {
        for (; group < end; group += perStep, to += stride)
        {
            *(ulong*)to = stored[group];
        }
    }

    /// <summary>Two steps' values in the two halves of the lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Core16(uint* stored, int group, int end, int perStep, byte* to, int stride)
    {
        for (; group < end; group += 2 * perStep, to += stride)
        {
            *(ulong*)to = Spread(stored[group]) | (group + perStep < end ? Spread(stored[group + perStep]) << 16 : 0);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Spread(uint pair) => (pair & 0xFFFF) | ((ulong)(pair >> 16) << 32);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Widened(ReadOnlySpan<ushort> values)
        => Vector128.WidenLower(Vector128.CreateScalarUnsafe(MemoryMarshal.Read<ulong>(MemoryMarshal.AsBytes(values))).AsUInt16());
}
