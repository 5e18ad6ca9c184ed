namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// How a tile's values are stored: one float32 in each 32-bit lane, or two narrower values, of two steps one after the other. The kernels ask which of
/// these it is by its type, so that the compiler drops the other branches before it counts what it may inline.
/// </summary>
internal interface IStoredValues
{
    /// <summary>Values in a 32-bit lane.</summary>
    static abstract int PerLane { get; }
}

internal readonly struct Float32Values : IStoredValues
{
    public static int PerLane => 1;
}

internal readonly struct BFloat16Values : IStoredValues
{
    public static int PerLane => 2;
}

internal readonly struct Float16Values : IStoredValues
{
    public static int PerLane => 2;
}
