using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// A batch in the order in which tiles read it: [group of inputs][block][step][input of the group][column of the step], with zeros beyond a block's
/// last column. Groups are of <see cref="TileLayout.GroupSize"/> inputs; what is left over has a smaller one: of one, two or four.
/// </summary>
internal static unsafe class InputPacking
{
    /// <summary>The group that begins with an input.</summary>
    /// <returns>Its inputs, and the inputs that there is room for.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (int Members, int Room) GroupAt(int start, int batch, int groupSize)
    {
        var members = Math.Min(groupSize, batch - start);
        return (members, members == 3 ? 4 : members);
    }

    /// <summary>Float32 that a packed batch takes.</summary>
    public static long Size(TileLayout layout, int batch) => (batch % 4 == 3 ? batch + 1L : batch) * layout.Blocks * layout.PaddedColumns;

    /// <summary>Whether a single input can be read where it is.</summary>
    public static bool IsNeeded(TileLayout layout, int batch) => batch > 1 || layout.PaddedColumns != layout.Columns;

    /// <summary>Packs some of the steps, counted over all blocks, of all inputs.</summary>
    public static void Pack(TileLayout layout, float* input, int batch, float* packed, long firstStep, long endStep)
    {
        var unit = layout.ColumnsPerStep;
        long width = (long)layout.Blocks * layout.Columns;
        long paddedWidth = (long)layout.Blocks * layout.PaddedColumns;
        for (var start = 0; start < batch; start += layout.GroupSize)
        {
            var (members, room) = GroupAt(start, batch, layout.GroupSize);
            for (var member = 0; member < room; member++)
            {
                var from = input + ((start + member) * width);
                var to = packed + (start * paddedWidth) + (member * unit) + (firstStep * unit * room);
                for (var step = firstStep; step < endStep; step++, to += unit * room)
                {
                    var (block, stepInBlock) = layout.Blocks == 1 ? (0, step) : Math.DivRem(step, layout.Steps);
                    var column = stepInBlock * unit;
                    var count = member < members ? (int)Math.Clamp(layout.Columns - column, 0, unit) : 0;
                    if (unit == 1)
                    {
                        *to = count == 1 ? from[(block * layout.Columns) + column] : 0;
                        continue;
                    }

                    var destination = new Span<float>(to, unit);
                    new ReadOnlySpan<float>(from + (block * layout.Columns) + column, count).CopyTo(destination);
                    destination[count..].Clear();
                }
            }
        }
    }
}
