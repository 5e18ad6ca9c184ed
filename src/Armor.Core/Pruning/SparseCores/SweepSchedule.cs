using System.Runtime.Intrinsics;
using Armor.Core.Pruning.SparseCores.Lanes;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>Spreads a sweep's strips and groups of lanes over threads. Every piece of work is independent of the others.</summary>
internal static unsafe class SweepSchedule
{
    // Groups of four below which another thread is not worth its dispatch.
    private const long WorthAThread = 2048;

    // Pieces a thread, so that a late one does not hold up the end.
    private const int PiecesPerThread = 8;

    /// <summary>The widest lanes that the hardware has and this many blocks fill.</summary>
    public static int LanesFor(long blocks) =>
        Vector512.IsHardwareAccelerated && blocks > 8 ? 16
        : Vector256.IsHardwareAccelerated && blocks > 4 ? 8
        : 4;

    /// <summary>Runs the whole task.</summary>
    public static void Run(SweepTask task, int threads, CancellationToken cancellationToken)
    {
        switch (task.Output.Lanes)
        {
            case 16:
                Run<Vector512<float>, Lanes16>(task, threads, cancellationToken);
                break;
            case 8:
                Run<Vector256<float>, Lanes8>(task, threads, cancellationToken);
                break;
            default:
                Run<Vector128<float>, Lanes4>(task, threads, cancellationToken);
                break;
        }
    }

    private static void Run<TVector, TLanes>(SweepTask task, int threads, CancellationToken cancellationToken)
        where TVector : unmanaged
        where TLanes : struct, ILanes<TVector>
    {
        long scratchLength = SweepKernel<TVector, TLanes>.ScratchLength(task);
        int items = task.Output.Groups * task.Strips;
        long work = (long)task.Output.Blocks * task.Output.BlockRows * task.Width * task.Strips / 4;
        threads = (int)Math.Clamp(work / WorthAThread, 1, Math.Min(threads, items));
        if (threads == 1)
        {
            using var scratch = new NativeBuffers();
            Piece(0, items, scratch.Allocate(scratchLength));
            return;
        }

        int pieces = Math.Min(items, PiecesPerThread * threads);
        Parallel.For(
            0,
            pieces,
            new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellationToken },
            () =>
            {
                var own = new NativeBuffers();
                return (Buffers: own, Scratch: (nint)own.Allocate(scratchLength));
            },
            (piece, _, own) =>
            {
                Piece((int)((long)items * piece / pieces), (int)((long)items * (piece + 1) / pieces), (float*)own.Scratch);
                return own;
            },
            own => own.Buffers.Dispose());

        // Strips are neighbours in the numbering: a thread keeps A and P of its blocks, and reads whole lines of W and S.
        void Piece(int from, int to, float* scratch)
        {
            for (int item = from; item < to; item++)
            {
                SweepKernel<TVector, TLanes>.Sweep(task, item / task.Strips, item % task.Strips, scratch);
            }
        }
    }
}
