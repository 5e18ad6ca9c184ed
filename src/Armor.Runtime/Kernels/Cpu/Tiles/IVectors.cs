using System.Runtime.Intrinsics;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// What a tile kernel asks of the processor's vectors of float32, so that the kernels are written once for every width. Every method is a handful of
/// instructions; vectors of codes and of stored values are carried as float32 vectors and read bit by bit.
/// </summary>
/// <typeparam name="TVector">Such as <see cref="Vector512{T}"/> of float32.</typeparam>
internal unsafe interface IVectors<TVector>
    where TVector : unmanaged
{
    /// <summary>The number of lanes.</summary>
    static abstract int Width { get; }

    /// <summary>How many inputs of a batch go through a whole tile together: 2 with 16 registers, 4 with 32; for some kernels 8 through half a tile if they are wide.</summary>
    static abstract int GroupSize { get; }

    static abstract TVector Load(void* source);

    static abstract void Store(TVector vector, float* destination);

    /// <summary>One value in all lanes.</summary>
    static abstract TVector Broadcast(float* source);

    static abstract TVector Multiply(TVector a, TVector b);

    /// <summary>a·b + c.</summary>
    static abstract TVector MultiplyAdd(TVector a, TVector b, TVector c);

    /// <summary>In each group of four lanes the ones that the low two bits of each code name.</summary>
    static abstract TVector Pick(TVector values, TVector codes);

    /// <summary>The codes of the next step: two bits further.</summary>
    static abstract TVector NextCodes(TVector codes);

    /// <summary>The bfloat16 in the low (0) or the high half (1) of each lane.</summary>
    static abstract TVector DecodeBFloat16(TVector stored, int half);

    /// <summary>The float16 in the low (0) or the high half (1) of each lane.</summary>
    static abstract TVector DecodeFloat16(TVector stored, int half);

    /// <summary>Two signed bytes for each lane, as pairs of 16-bit numbers.</summary>
    static abstract TVector LoadBytes(void* source);

    /// <summary>What <see cref="ControlsOf"/> looks patterns up in.</summary>
    static abstract TVector PatternTable();

    /// <summary>From the low four bits of each lane, a pattern of <see cref="PairPatterns"/>, to what picks its two numbers of the 128-bit part.</summary>
    static abstract TVector ControlsOf(TVector patterns, TVector table);

    /// <summary>The patterns of the next step: four bits further.</summary>
    static abstract TVector NextPatterns(TVector patterns);

    /// <summary>For each lane two of the eight 16-bit numbers in its 128-bit part.</summary>
    static abstract TVector PickPairs(TVector numbers, TVector controls);

    /// <summary>The sum of each lane's two products of 16-bit numbers, added to a 32-bit number.</summary>
    static abstract TVector AddProducts(TVector left, TVector right, TVector sum);

    /// <summary>32-bit numbers as float32.</summary>
    static abstract TVector ToFloat32(TVector numbers);

    /// <summary>In each 128-bit part the first one twice, then the second one twice.</summary>
    static abstract TVector PairScales(float first, float second);

    /// <summary>The sum of the vector's 128-bit parts.</summary>
    static abstract Vector128<float> Fold(TVector vector);
}
