using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One exact sweep over several strips of columns, ready for the kernel: with Q = B·H·Bᵀ of a strip and P_i = A_iᵀA_i, the residual product of row
/// block i is A_iᵀ·X_i·M − P_i·T_i, where T is S·Q, or Δ·Q if X is the residual already (<see cref="FromChanges"/>). Pointers are to float32.
/// </summary>
internal sealed unsafe class SweepTask : IDisposable
{
    private readonly NativeBuffers buffers = new();

    /// <summary>Lays out Q, M and the masks' systems.</summary>
    /// <param name="output">The row side.</param>
    /// <param name="q">Q [strips, width, width], contiguous.</param>
    /// <param name="m">M's diagonal blocks [strips · width / b, b, b], contiguous; <see langword="null"/> for the identity.</param>
    public SweepTask(SweepOutput output, Tensor q, Tensor? m)
    {
        Output = output;
        Strips = (int)q.shape[0];
        Width = (int)q.shape[1];
        Q = CoreSystems.Pointer(q);
        PackedQ = buffers.Allocate((long)Strips * Width * Width);
        PackColumns(Q, Width, Strips, PackedQ);
        if (m is not null)
        {
            BlockM = (int)m.shape[1];
            M = buffers.Allocate((long)Strips * Width * BlockM);
            PackColumns(CoreSystems.Pointer(m), BlockM, Strips * Width / BlockM, M);
        }

        int length = Width / 4 * MaskPairs.CoefficientsPerGroup;
        Coefficients = buffers.Allocate((long)Strips * length);
        for (int strip = 0; strip < Strips; strip++)
        {
            MaskPairs.Prepare(Q + ((long)strip * Width * Width), Width, Width, Coefficients + ((long)strip * length));
        }
    }

    /// <summary>The row side.</summary>
    public SweepOutput Output { get; }

    /// <summary>Strips of columns.</summary>
    public int Strips { get; }

    /// <summary>Columns of a strip, a multiple of four.</summary>
    public int Width { get; }

    /// <summary>X [d_out, strips · width].</summary>
    public float* X { get; init; }

    /// <summary>Floats from row to row of X.</summary>
    public long StrideX { get; init; }

    /// <summary>S, at the first strip's first column. Updated.</summary>
    public float* S { get; init; }

    /// <summary>Floats from row to row of S.</summary>
    public long StrideS { get; init; }

    /// <summary>X is the residual E·H rather than W·H: T counts changes only.</summary>
    public bool FromChanges { get; init; }

    /// <summary>The step's seed.</summary>
    public ulong Seed { get; init; }

    /// <summary>The weight's column at which the first strip begins; part of the seeds.</summary>
    public long FirstColumn { get; init; }

    /// <summary>The noise on the gains.</summary>
    public AnnealingNoise Noise { get; init; }

    /// <summary>Q [strip][width, width].</summary>
    public float* Q { get; }

    /// <summary>Q as [strip][column / 4][row][4].</summary>
    public float* PackedQ { get; }

    /// <summary>M's diagonal blocks as [strip][column / 4][row][4]; null for the identity.</summary>
    public float* M { get; }

    /// <summary>The size of M's blocks.</summary>
    public int BlockM { get; }

    /// <summary>The inverse factors of the 2×2 systems, see <see cref="MaskPairs.Prepare"/>.</summary>
    public float* Coefficients { get; }

    /// <summary>Frees what was laid out.</summary>
    public void Dispose() => buffers.Dispose();

    private static void PackColumns(float* source, int size, int count, float* target)
    {
        for (int block = 0; block < count; block++, source += (long)size * size)
        {
            for (int column = 0; column < size; column += 4)
            {
                for (int row = 0; row < size; row++, target += 4)
                {
                    new ReadOnlySpan<float>(source + ((long)row * size) + column, 4).CopyTo(new Span<float>(target, 4));
                }
            }
        }
    }
}
