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
    public static Vector256<float> Multiply(Vector256<float> a, Vector256<float> b) => a * b;

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
        // Exponent and mantissa at float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too. The shift
        // copies the sign into bits that are cleared then.
        var top = half == 0 ? Vector256.ShiftLeft(stored.AsInt32(), 16) : stored.AsInt32();
        return (Vector256.ShiftRightArithmetic(top, 3) & Vector256.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector256.Create(5.192296858534828e33f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadBytes(void* source) => Avx2.ConvertToVector256Int16(Vector128.Load((sbyte*)source)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PatternTable() => Vector256.Load(PairPatterns.Table).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ControlsOf(Vector256<float> patterns, Vector256<float> table)
    {
        // The lookup sees three bits only; the fourth, of the second group, is the same in every other lane.
        var second = Vector256.Create(0, PairPatterns.SecondGroup, 0, PairPatterns.SecondGroup, 0, PairPatterns.SecondGroup, 0, PairPatterns.SecondGroup);
        return (Avx2.PermuteVar8x32(table.AsInt32(), patterns.AsInt32()) | second).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> NextPatterns(Vector256<float> patterns) => Vector256.ShiftRightLogical(patterns.AsUInt32(), 4).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PickPairs(Vector256<float> numbers, Vector256<float> controls)
        => Avx2.Shuffle(numbers.AsByte(), controls.AsByte()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> AddProducts(Vector256<float> left, Vector256<float> right, Vector256<float> sum)
        => (sum.AsInt32() + Avx2.MultiplyAddAdjacent(left.AsInt16(), right.AsInt16())).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat32(Vector256<float> numbers) => Vector256.ConvertToSingle(numbers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> PairScales(float first, float second) => Vector256.Create(Vector128.Create(first, first, second, second));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fold(Vector256<float> vector) => vector.GetLower() + vector.GetUpper();
}
