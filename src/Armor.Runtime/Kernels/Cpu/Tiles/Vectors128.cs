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
    public static Vector128<float> Multiply(Vector128<float> a, Vector128<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> MultiplyAdd(Vector128<float> a, Vector128<float> b, Vector128<float> c) => Vector128.MultiplyAddEstimate(a, b, c);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Pick(Vector128<float> values, Vector128<float> codes)
    {
        if (AdvSimd.Arm64.IsSupported)
        {
            // Arm looks single bytes up: the code goes to bits 2 and 3 of each byte of its lane, whose low bits count the bytes.
            var shifted = Vector128.ShiftLeft(codes.AsUInt32(), 2).AsByte();
            var spread = AdvSimd.Arm64.VectorTableLookup(shifted, Vector128.Create(0u, 0x04040404, 0x08080808, 0x0C0C0C0C).AsByte());
            var bytes = AdvSimd.BitwiseSelect(Vector128.Create((byte)0x0C), spread, Vector128.Create(0x03020100u).AsByte());
            return AdvSimd.Arm64.VectorTableLookup(values.AsByte(), bytes).AsSingle();
        }

        return Avx.IsSupported ? Avx.PermuteVar(values, codes.AsInt32()) : Vector128.Shuffle(values, codes.AsInt32() & Vector128.Create(3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> NextCodes(Vector128<float> codes) => Vector128.ShiftRightLogical(codes.AsUInt32(), 2).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> DecodeBFloat16(Vector128<float> stored, int half)
        => half == 0 ? Vector128.ShiftLeft(stored.AsUInt32(), 16).AsSingle() : (stored.AsUInt32() & Vector128.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> DecodeFloat16(Vector128<float> stored, int half)
    {
        // Exponent and mantissa at float32's place read as the value times 2^-112; the product with 2^112 is exact, subnormals too. The shift
        // copies the sign into bits that are cleared then.
        var top = half == 0 ? Vector128.ShiftLeft(stored.AsInt32(), 16) : stored.AsInt32();
        return (Vector128.ShiftRightArithmetic(top, 3) & Vector128.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector128.Create(5.192296858534828e33f);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LoadBytes(void* source) => Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(long*)source).AsSByte()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PatternTable() => Vector128.Load(PairPatterns.Bytes).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ControlsOf(Vector128<float> patterns, Vector128<float> table)
    {
        // Each byte of a lane looks its own part of the pattern up: twice the first column, twice the second.
        var lookup = ((patterns.AsUInt32() & Vector128.Create(7u)) * 0x01010101u) + Vector128.Create(0x08080000u);
        var second = (uint)PairPatterns.SecondGroup + 0x01000100u;
        return (Vector128.Shuffle(table.AsByte(), lookup.AsByte()).AsUInt32() + Vector128.Create(0x01000100u, second, 0x01000100u, second)).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> NextPatterns(Vector128<float> patterns) => Vector128.ShiftRightLogical(patterns.AsUInt32(), 4).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PickPairs(Vector128<float> numbers, Vector128<float> controls)
        => Vector128.Shuffle(numbers.AsByte(), controls.AsByte()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> AddProducts(Vector128<float> left, Vector128<float> right, Vector128<float> sum)
    {
        var (a, b) = (left.AsInt16(), right.AsInt16());
        if (Sse2.IsSupported)
        {
            return (sum.AsInt32() + Sse2.MultiplyAddAdjacent(a, b)).AsSingle();
        }

        if (AdvSimd.Arm64.IsSupported)
        {
            var low = AdvSimd.MultiplyWideningLower(a.GetLower(), b.GetLower());
            return (sum.AsInt32() + AdvSimd.Arm64.AddPairwise(low, AdvSimd.MultiplyWideningUpper(a, b))).AsSingle();
        }

        // Even and odd numbers apart, each with its sign.
        var even = Vector128.ShiftRightArithmetic(Vector128.ShiftLeft(a.AsInt32(), 16), 16) * Vector128.ShiftRightArithmetic(Vector128.ShiftLeft(b.AsInt32(), 16), 16);
        var odd = Vector128.ShiftRightArithmetic(a.AsInt32(), 16) * Vector128.ShiftRightArithmetic(b.AsInt32(), 16);
        return (sum.AsInt32() + even + odd).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat32(Vector128<float> numbers) => Vector128.ConvertToSingle(numbers.AsInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PairScales(float first, float second) => Vector128.Create(first, first, second, second);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fold(Vector128<float> vector) => vector;
}
