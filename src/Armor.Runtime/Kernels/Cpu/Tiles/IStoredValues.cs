using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>How a tile's values are stored: one float32 in each 32-bit lane, or two narrower values, of two steps one after the other.</summary>
internal unsafe interface IStoredValues
{
    /// <summary>Values in a 32-bit lane.</summary>
    static abstract int PerLane { get; }

    /// <summary>Reads the values of one step.</summary>
    /// <param name="source">A vector of lanes.</param>
    /// <param name="part">Which of the lanes' values; a constant.</param>
    static abstract TVector Decode<TVector, TVectors>(byte* source, int part)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>;
}

internal readonly unsafe struct Float32Values : IStoredValues
{
    public static int PerLane => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Decode<TVector, TVectors>(byte* source, int part)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
        => TVectors.Load(source);
}

internal readonly unsafe struct BFloat16Values : IStoredValues
{
    public static int PerLane => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Decode<TVector, TVectors>(byte* source, int part)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
        => TVectors.DecodeBFloat16(TVectors.Load(source), part);
}

internal readonly unsafe struct Float16Values : IStoredValues
{
    public static int PerLane => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Decode<TVector, TVectors>(byte* source, int part)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
        => TVectors.DecodeFloat16(TVectors.Load(source), part);
}
