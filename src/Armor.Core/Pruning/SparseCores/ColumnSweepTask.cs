using System.Runtime.Intrinsics;
using Armor.Core.Pruning.SparseCores.Lanes;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// A sweep of one strip of columns over large blocks of P, ready for <see cref="ColumnSweepKernel{TVector,TLanes}"/>: the residual product of the rows of
/// a block is X − P·Δ·Q. Blocks are independent and go over threads. Pointers are to float32.
/// </summary>
internal sealed unsafe class ColumnSweepTask : IDisposable
{
    // Rows of Q begin at whole vectors of any width.
    private const int Alignment = 16;

    // Groups of four below which another thread is not worth its dispatch.
    private const long WorthAThread = 1024;

    private readonly NativeBuffers buffers = new();

    /// <summary>Lays out Q and the masks' systems.</summary>
    /// <param name="q">Q [width, width], contiguous.</param>
    public ColumnSweepTask(Tensor q)
    {
        Width = (int)q.shape[0];
        Stride = (Width + Alignment - 1) / Alignment * Alignment;
        Q = buffers.Allocate(((long)Width * Stride) + Alignment);
        float* source = CoreSystems.Pointer(q);
        for (int row = 0; row < Width; row++)
        {
            new ReadOnlySpan<float>(source + ((long)row * Width), Width).CopyTo(new Span<float>(Q + ((long)row * Stride), Width));
        }

        // Masks are read four at a time, past the last group's end.
        Coefficients = buffers.Allocate((Width / 4 * MaskPairs.CoefficientsPerGroup) + 4);
        MaskPairs.Prepare(Q, Stride, Width, Coefficients);
    }

    /// <summary>Columns of the strip, a multiple of four.</summary>
    public int Width { get; }

    /// <summary>Floats from row to row of Q, a multiple of sixteen.</summary>
    public int Stride { get; }

    /// <summary>Q [width, stride].</summary>
    public float* Q { get; }

    /// <summary>The inverse factors of the 2×2 systems, see <see cref="MaskPairs.Prepare"/>.</summary>
    public float* Coefficients { get; }

    /// <summary>X [rows, width].</summary>
    public required float* X { get; init; }

    /// <summary>S, at the strip's first column. Updated.</summary>
    public required float* S { get; init; }

    /// <summary>Floats from row to row of S.</summary>
    public required long StrideS { get; init; }

    /// <summary>The step's seed.</summary>
    public ulong Seed { get; init; }

    /// <summary>The strip's first column in the weight; part of the seeds.</summary>
    public long FirstColumn { get; init; }

    /// <summary>The noise on the gains.</summary>
    public AnnealingNoise Noise { get; init; }

    /// <summary>Columns that a vector holds; <see langword="null"/> for the widest of the hardware.</summary>
    public int? Lanes { get; init; }

    /// <summary>The row after the last that a row of a block is coupled with; <see langword="null"/>: all are.</summary>
    public int[]? Reach { get; init; }

    /// <summary>Sweeps all blocks.</summary>
    /// <param name="p">P [blocks, n, n], contiguous, n padded with zeros to a multiple of four.</param>
    /// <param name="rows">Rows of a block.</param>
    /// <param name="threads">The most threads.</param>
    /// <param name="cancellationToken">Stops between blocks.</param>
    public void Run(Tensor p, int rows, int threads, CancellationToken cancellationToken)
    {
        switch (Lanes ?? (Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : 4))
        {
            case 16:
                Run<Vector512<float>, Lanes16>(p, rows, threads, cancellationToken);
                break;
            case 8:
                Run<Vector256<float>, Lanes8>(p, rows, threads, cancellationToken);
                break;
            default:
                Run<Vector128<float>, Lanes4>(p, rows, threads, cancellationToken);
                break;
        }
    }

    /// <summary>Frees what was laid out.</summary>
    public void Dispose() => buffers.Dispose();

    private void Run<TVector, TLanes>(Tensor p, int rows, int threads, CancellationToken cancellationToken)
        where TVector : unmanaged
        where TLanes : struct, ILanes<TVector>
    {
        int blocks = (int)p.shape[0];
        int padded = (int)p.shape[1];
        float* first = CoreSystems.Pointer(p);
        if (threads == 1 || blocks == 1 || (long)rows * Width * blocks / 4 < WorthAThread)
        {
            for (int block = 0; block < blocks; block++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Block(block);
            }
        }
        else
        {
            Parallel.For(0, blocks, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellationToken }, Block);
        }

        GC.KeepAlive(p);

        void Block(int block)
        {
            using var scratch = new NativeBuffers();
            float* own = scratch.Allocate(ColumnSweepKernel<TVector, TLanes>.ScratchLength(this, padded));
            ColumnSweepKernel<TVector, TLanes>.Sweep(this, first + ((long)block * padded * padded), rows, (long)block * rows, own);
        }
    }
}
