using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>AVX2 with FMA.</summary>
internal readonly unsafe struct Vectors256 : IVectors<Vector256<float>>
{
    public static bool IsSupported => Avx2.IsSupported && Fma.IsSupported;

    public static int Width => 8;

    public static int GroupSize => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(void* source) => Vector256.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> vector, float* destination) => vector.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Broadcast(float* source) => Vector256.Create(*source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> MultiplyAdd(Vector256<float> a, Vector256<float> b, Vector256<float> c) => Fma.MultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Pick(Vector256<float> values, Vector256<float> codes) => Avx.PermuteVar(values, codes.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> NextCodes(Vector256<float> codes) => Vector256.ShiftRightLogical(codes.AsUInt32(), 2).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> DecodeBFloat16(Vector256<float> stored, int half)
        => half == 0 ? Vector256.ShiftLeft(stored.AsUInt32(), 16).AsSingle() : (stored.AsUInt32() & Vector256.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> DecodeFloat16(Vector256<float> stored, int half)
    {
        // Exponent and mantissa at float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too.
        var top = half == 0 ? Vector256.ShiftLeft(stored.AsUInt32(), 16) : stored.AsUInt32();
        var magnitude = Vector256.ShiftRightLogical(top, 3) & Vector256.Create(0x0FFFE000u);
        var sign = top & Vector256.Create(0x80000000);
        return (magnitude | sign).AsSingle() * Vector256.Create(5.192296858534828e33f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fold(Vector256<float> vector) => vector.GetLower() + vector.GetUpper();
}
