using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Armor.Core.Pruning.SparseCores.Lanes;

/// <summary>
/// Brings one row of each of several blocks of a row-major matrix into lanes and back: four columns of four blocks are transposed at a time.
/// </summary>
internal static unsafe class LaneTiles
{
    /// <summary>Reads one row a lane. Lanes past the last block repeat it; their values are never written back.</summary>
    /// <param name="source">The row of lane 0.</param>
    /// <param name="laneStride">Floats from the row of one lane to that of the next.</param>
    /// <param name="valid">Lanes that have a row, at least 1.</param>
    /// <param name="lanes">All lanes.</param>
    /// <param name="width">Columns, a multiple of four.</param>
    /// <param name="target">Column x of group c goes to target + c·groupStride + x·lanes.</param>
    /// <param name="groupStride">Floats from one group of four columns to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Load(float* source, long laneStride, int valid, int lanes, int width, float* target, long groupStride)
    {
        for (int lane = 0; lane < lanes; lane += 4)
        {
            float* s0 = source + (Math.Min(lane, valid - 1) * laneStride);
            float* s1 = source + (Math.Min(lane + 1, valid - 1) * laneStride);
            float* s2 = source + (Math.Min(lane + 2, valid - 1) * laneStride);
            float* s3 = source + (Math.Min(lane + 3, valid - 1) * laneStride);
            float* t = target + lane;
            for (int c = 0; c < width; c += 4, t += groupStride)
            {
                Vector128<float> r0 = Vector128.Load(s0 + c);
                Vector128<float> r1 = Vector128.Load(s1 + c);
                Vector128<float> r2 = Vector128.Load(s2 + c);
                Vector128<float> r3 = Vector128.Load(s3 + c);
                Transpose(ref r0, ref r1, ref r2, ref r3);
                r0.Store(t);
                r1.Store(t + lanes);
                r2.Store(t + (2 * lanes));
                r3.Store(t + (3 * lanes));
            }
        }
    }

    /// <summary>Writes one row a lane, only of lanes that have one.</summary>
    /// <param name="source">Column x at source + x·lanes.</param>
    /// <param name="lanes">All lanes.</param>
    /// <param name="width">Columns, a multiple of four.</param>
    /// <param name="target">The row of lane 0.</param>
    /// <param name="laneStride">Floats from the row of one lane to that of the next.</param>
    /// <param name="valid">Lanes that have a row.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Store(float* source, int lanes, int width, float* target, long laneStride, int valid)
    {
        for (int lane = 0; lane < valid; lane += 4)
        {
            float* s = source + lane;
            float* t = target + (lane * laneStride);
            int rows = Math.Min(4, valid - lane);
            for (int c = 0; c < width; c += 4, s += 4 * lanes)
            {
                Vector128<float> r0 = Vector128.Load(s);
                Vector128<float> r1 = Vector128.Load(s + lanes);
                Vector128<float> r2 = Vector128.Load(s + (2 * lanes));
                Vector128<float> r3 = Vector128.Load(s + (3 * lanes));
                Transpose(ref r0, ref r1, ref r2, ref r3);
                r0.Store(t + c);
                if (rows > 1)
                {
                    r1.Store(t + laneStride + c);
                }

                if (rows > 2)
                {
                    r2.Store(t + (2 * laneStride) + c);
                }

                if (rows > 3)
                {
                    r3.Store(t + (3 * laneStride) + c);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(ref Vector128<float> r0, ref Vector128<float> r1, ref Vector128<float> r2, ref Vector128<float> r3)
    {
        Vector128<float> a = ZipLow(r0, r2);
        Vector128<float> b = ZipLow(r1, r3);
        Vector128<float> c = ZipHigh(r0, r2);
        Vector128<float> d = ZipHigh(r1, r3);
        r0 = ZipLow(a, b);
        r1 = ZipHigh(a, b);
        r2 = ZipLow(c, d);
        r3 = ZipHigh(c, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> ZipLow(Vector128<float> a, Vector128<float> b) =>
        Sse.IsSupported ? Sse.UnpackLow(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b)
        : Vector128.Create(a[0], b[0], a[1], b[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> ZipHigh(Vector128<float> a, Vector128<float> b) =>
        Sse.IsSupported ? Sse.UnpackHigh(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b)
        : Vector128.Create(a[2], b[2], a[3], b[3]);
}
