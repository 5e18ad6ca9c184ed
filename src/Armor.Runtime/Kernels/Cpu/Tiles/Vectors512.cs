using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>AVX-512.</summary>
internal readonly unsafe struct Vectors512 : IVectors<Vector512<float>>
{
    public static bool IsSupported => Vector512.IsHardwareAccelerated && Avx512F.IsSupported;

    public static int Width => 16;

    public static int GroupSize => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(void* source) => Vector512.Load((float*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> vector, float* destination) => vector.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float* source) => Vector512.Create(*source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) => Avx512F.FusedMultiplyAdd(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Pick(Vector512<float> values, Vector512<float> codes) => Avx512F.PermuteVar4x32(values, codes.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> NextCodes(Vector512<float> codes) => Vector512.ShiftRightLogical(codes.AsUInt32(), 2).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> DecodeBFloat16(Vector512<float> stored, int half)
        => half == 0 ? Vector512.ShiftLeft(stored.AsUInt32(), 16).AsSingle() : (stored.AsUInt32() & Vector512.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> DecodeFloat16(Vector512<float> stored, int half)
    {
        // Exponent and mantissa at float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too. The shift
        // copies the sign into bits that are cleared then.
        var top = half == 0 ? Vector512.ShiftLeft(stored.AsInt32(), 16) : stored.AsInt32();
        return (Vector512.ShiftRightArithmetic(top, 3) & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(5.192296858534828e33f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LoadBytes(void* source) => Avx512BW.ConvertToVector512Int16(Vector256.Load((sbyte*)source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> PatternTable() => Vector512.Load(PairPatterns.Table).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ControlsOf(Vector512<float> patterns, Vector512<float> table)
        => Avx512F.PermuteVar16x32(table, patterns.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> NextPatterns(Vector512<float> patterns) => Vector512.ShiftRightLogical(patterns.AsUInt32(), 4).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> PickPairs(Vector512<float> numbers, Vector512<float> controls)
        => Avx512BW.Shuffle(numbers.AsByte(), controls.AsByte()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> AddProducts(Vector512<float> left, Vector512<float> right, Vector512<float> sum)
        => (sum.AsInt32() + Avx512BW.MultiplyAddAdjacent(left.AsInt16(), right.AsInt16())).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> ToFloat32(Vector512<float> numbers) => Vector512.ConvertToSingle(numbers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> PairScales(float first, float second)
    {
        var pair = Vector128.Create(first, first, second, second);
        return Vector512.Create(Vector256.Create(pair, pair), Vector256.Create(pair, pair));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fold(Vector512<float> vector)
    {
        var half = vector.GetLower() + vector.GetUpper();
        return half.GetLower() + half.GetUpper();
    }
}
