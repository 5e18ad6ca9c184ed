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

    /// <summary>How many inputs of a batch go through a tile together: 4 where there are 32 registers, else 2.</summary>
    static abstract int GroupSize { get; }

    static abstract TVector Load(void* source);

    static abstract void Store(TVector vector, float* destination);

    /// <summary>One value in all lanes.</summary>
    static abstract TVector Broadcast(float* source);

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

    /// <summary>The sum of the vector's 128-bit parts.</summary>
    static abstract Vector128<float> Fold(TVector vector);
}
