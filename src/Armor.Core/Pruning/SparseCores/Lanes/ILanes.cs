namespace Armor.Core.Pruning.SparseCores.Lanes;

/// <summary>
/// Vectors whose lanes hold the same entry of different blocks: every operation works on as many blocks at once as there are lanes, and each lane's
/// result is the same whatever their number.
/// </summary>
/// <typeparam name="TVector">The vector of float32.</typeparam>
internal unsafe interface ILanes<TVector>
    where TVector : unmanaged
{
    /// <summary>The number of lanes, a multiple of four.</summary>
    static abstract int Count { get; }

    /// <summary>Whether there are registers for sixteen sums beside their factors (32 instead of 16).</summary>
    static abstract bool ManyRegisters { get; }

    /// <summary>Reads one value a lane.</summary>
    static abstract TVector Load(float* source);

    /// <summary>Writes one value a lane.</summary>
    static abstract void Store(TVector value, float* target);

    /// <summary>The same value in all lanes.</summary>
    static abstract TVector Create(float value);

    /// <summary>a + b.</summary>
    static abstract TVector Add(TVector a, TVector b);

    /// <summary>a − b.</summary>
    static abstract TVector Subtract(TVector a, TVector b);

    /// <summary>a·b.</summary>
    static abstract TVector Multiply(TVector a, TVector b);

    /// <summary>a·b + c, rounded once where the hardware can.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    /// <summary>The smaller of each lane.</summary>
    static abstract TVector Min(TVector a, TVector b);

    /// <summary>All bits set where a &gt; b; not where either is not a number.</summary>
    static abstract TVector Greater(TVector a, TVector b);

    /// <summary>a where the mask is set, else b.</summary>
    static abstract TVector Select(TVector mask, TVector a, TVector b);

    /// <summary>The next states of one xorshift32 generator a lane (Marsaglia 2003), held as bits.</summary>
    static abstract TVector NextRandom(TVector state);

    /// <summary>The low 16 bits of each lane as a number 0 .. 65535.</summary>
    static abstract TVector LowBits(TVector state);

    /// <summary>The high 16 bits of each lane as a number 0 .. 65535.</summary>
    static abstract TVector HighBits(TVector state);
}
