using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>128-bit vectors of any processor; without them .NET does the same lane by lane.</summary>
internal readonly unsafe struct Vectors128 : IVectors<Vector128<float>>
{
    public static int Width => 4;

    public static int GroupSize => AdvSimd.IsSupported ? 4 : 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(void* source) => Vector128.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<float> vector, float* destination) => vector.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float* source) => Vector128.Create(*source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Vector128.MultiplyAddEstimate(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Pick(Vector128<float> values, Vector128<float> codes) 
        => Avx.IsSupported ? Avx.PermuteVar(values, codes.AsInt32()) : Vector128.Shuffle(values, codes.AsInt32() & Vector128.Create(3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> NextCodes(Vector128<float> codes) => Vector128.ShiftRightLogical(codes.AsUInt32(), 2).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> DecodeBFloat16(Vector128<float> stored, int half)
        => half == 0 ? Vector128.ShiftLeft(stored.AsUInt32(), 16).AsSingle() : (stored.AsUInt32() & Vector128.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> DecodeFloat16(Vector128<float> stored, int half)
    {
        // Exponent and mantissa at float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too.
        var top = half == 0 ? Vector128.ShiftLeft(stored.AsUInt32(), 16) : stored.AsUInt32();
        var magnitude = Vector128.ShiftRightLogical(top, 3) & Vector128.Create(0x0FFFE000u);
        var sign = top & Vector128.Create(0x80000000);
        return (magnitude | sign).AsSingle() * Vector128.Create(5.192296858534828e33f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fold(Vector128<float> vector) => vector;
}
