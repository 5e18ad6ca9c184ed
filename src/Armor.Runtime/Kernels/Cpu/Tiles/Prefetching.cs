using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// Brings what is multiplied next into the second-level cache, as the processor's own fetching begins anew at every jump from tile to tile. Nothing
/// where .NET has no instruction for it.
/// </summary>
internal static unsafe class Prefetching
{
    public const int LineBytes = 64;

    /// <summary>Fetches one, two or four lines, and moves on. They need not exist.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Fetch(ref byte* next, int lines)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch1(next);
            if (lines > 1)
            {
                Sse.Prefetch1(next + LineBytes);
                if (lines > 2)
                {
                    Sse.Prefetch1(next + (2 * LineBytes));
                    Sse.Prefetch1(next + (3 * LineBytes));
                }
            }

            next += lines * LineBytes;
        }
    }
}
