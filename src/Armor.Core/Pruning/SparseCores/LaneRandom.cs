using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>Eight xorshift32 generators side by side (Marsaglia 2003), seeded by SplitMix64: cheap noise, the same on every machine and thread.</summary>
internal static class LaneRandom
{
    /// <summary>Eight non-zero states from one seed.</summary>
    public static Vector256<uint> Start(ulong seed)
    {
        Span<uint> state = stackalloc uint[8];
        for (int i = 0; i < state.Length; i++)
        {
            state[i] = (uint)(Seeds.Mix(seed, (ulong)i) >> 32) | 1;
        }

        return Vector256.Create<uint>(state);
    }

    /// <summary>The states that follow.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Next(Vector256<uint> state)
    {
        state ^= state << 13;
        state ^= state >> 17;
        return state ^ (state << 5);
    }

    /// <summary>States as numbers in [0, 1): 23 random bits as the fraction of a float in [1, 2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Uniform(Vector256<uint> state) =>
        ((state >> 9) | Vector256.Create(0x3f800000u)).AsSingle() - Vector256<float>.One;
}
