using System.Numerics;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>Momentum of a core: x + β(x − x_prev) where both keep the value, x elsewhere.</summary>
internal static class CoreExtrapolation
{
    // Values below which another thread is not worth its dispatch.
    private const long Piece = 1 << 18;

    /// <summary>The extrapolated core, [d_out, d_in], in the caller's dispose scope.</summary>
    /// <param name="x">S.</param>
    /// <param name="previous">S of the cycle before.</param>
    /// <param name="beta">β.</param>
    /// <param name="threads">The most threads.</param>
    public static unsafe Tensor Of(Tensor x, Tensor previous, double beta, int threads)
    {
        using var scope = NewDisposeScope();
        if (x.device_type != DeviceType.CPU)
        {
            Tensor both = x.NonZero() & previous.NonZero();
            return x.Plus(((x - previous) * both).Times(beta)).MoveToOuterDisposeScope();
        }

        // One pass over memory instead of seven.
        Tensor now = x.contiguous();
        Tensor before = previous.contiguous();
        Tensor result = empty_like(now);
        float* source = CoreSystems.Pointer(now);
        float* old = CoreSystems.Pointer(before);
        float* target = CoreSystems.Pointer(result);
        long length = now.numel();
        int pieces = (int)((length + Piece - 1) / Piece);
        if (threads == 1 || pieces == 1)
        {
            Extrapolate(source, old, target, length, (float)beta);
        }
        else
        {
            Parallel.For(0, pieces, new ParallelOptions { MaxDegreeOfParallelism = threads }, piece =>
            {
                long from = piece * Piece;
                Extrapolate(source + from, old + from, target + from, Math.Min(Piece, length - from), (float)beta);
            });
        }

        GC.KeepAlive((now, before, result));
        return result.MoveToOuterDisposeScope();
    }

    private static unsafe void Extrapolate(float* x, float* previous, float* result, long length, float beta)
    {
        long i = 0;
        for (; i + Vector<float>.Count <= length; i += Vector<float>.Count)
        {
            Vector<float> now = Vector.Load(x + i);
            Vector<float> old = Vector.Load(previous + i);
            Vector<int> either = Vector.Equals(now, Vector<float>.Zero) | Vector.Equals(old, Vector<float>.Zero);
            Vector.Store(Vector.ConditionalSelect(either, now, now + ((now - old) * beta)), result + i);
        }

        for (; i < length; i++)
        {
            result[i] = x[i] == 0 || previous[i] == 0 ? x[i] : x[i] + ((x[i] - previous[i]) * beta);
        }
    }
}
