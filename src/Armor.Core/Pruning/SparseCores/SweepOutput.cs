using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The row side of exact sweeps, ready by lanes: A and P = AᵀA as [group of lanes][row / 4][k][4][lane], P negated, rows past a block's last and
/// lanes past the last block zero. Serves as many sweeps as there are with the same A.
/// </summary>
internal sealed unsafe class SweepOutput : IDisposable
{
    // A row whose column of A is this much smaller than the largest carries nothing; its values would only blow up.
    internal const float DeadRow = 1e-12f;

    private readonly NativeBuffers buffers = new();

    /// <summary>Lays out A and P.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="blocks">The blocks of A [d_out/b_A, b_A, b_A]; <see langword="null"/> for the identity, or where the residual is Aᵀ·X already.</param>
    /// <param name="gram">The blocks of P [d_out/b_A, b_A, b_A]; <see langword="null"/> for the identity.</param>
    /// <param name="lanes">Blocks that go together; <see langword="null"/> for the best on this machine.</param>
    public SweepOutput(long rows, Tensor? blocks, Tensor? gram, int? lanes)
    {
        // Rows without a wrapper are independent; four at a time fill the products.
        BlockRows = gram is not null ? (int)gram.shape[1] : rows % 4 == 0 ? 4 : 1;
        Blocks = (int)(rows / BlockRows);
        Lanes = lanes ?? SweepSchedule.LanesFor(Blocks);
        Groups = (Blocks + Lanes - 1) / Lanes;
        PackLength = (long)PaddedRows * BlockRows * Lanes;
        Gram = gram?.alias().DetachFromDisposeScope();
        int diagonals = checked(Groups * BlockRows * Lanes);
        Inverse = buffers.Allocate(diagonals);
        Floor = buffers.Allocate(diagonals);
        new Span<float>(Floor, diagonals).Fill(float.PositiveInfinity);
        using var scope = NewDisposeScope();
        A = blocks is null ? null : buffers.Allocate(Groups * PackLength);
        P = gram is null ? null : buffers.Allocate(Groups * PackLength);
        float* a = blocks is null ? null : CoreSystems.Pointer(blocks.contiguous());
        float* p = gram is null ? null : CoreSystems.Pointer(gram);
        for (int block = 0; block < Blocks; block++)
        {
            long own = (long)block * BlockRows * BlockRows;
            Diagonal(block, p is null ? null : p + own);
            if (a is not null)
            {
                Pack(block, a + own, 1, A);
            }

            if (p is not null)
            {
                Pack(block, p + own, -1, P);
            }
        }
    }

    /// <summary>b_A.</summary>
    public int BlockRows { get; }

    /// <summary>b_A rounded up to a multiple of four.</summary>
    public int PaddedRows => (BlockRows + 3) / 4 * 4;

    /// <summary>d_out / b_A.</summary>
    public int Blocks { get; }

    /// <summary>Groups of lanes.</summary>
    public int Groups { get; }

    /// <summary>Blocks in a group.</summary>
    public int Lanes { get; }

    /// <summary>Floats of A or P a group of lanes.</summary>
    public long PackLength { get; }

    /// <summary>Aᵀ by lanes; null for the identity.</summary>
    public float* A { get; }

    /// <summary>−P by lanes; null for the identity.</summary>
    public float* P { get; }

    /// <summary>P as it came, by blocks; null for the identity.</summary>
    public Tensor? Gram { get; }

    /// <summary>1/P_rr [group][row][lane]; 0 in dead rows.</summary>
    public float* Inverse { get; }

    /// <summary>The gain a mask must exceed [group][row][lane]: none, or infinity in dead rows.</summary>
    public float* Floor { get; }

    /// <summary>Frees what was laid out.</summary>
    public void Dispose()
    {
        Gram?.Dispose();
        buffers.Dispose();
    }

    private void Diagonal(int block, float* p)
    {
        float largest = 0;
        for (int row = 0; row < BlockRows && p is not null; row++)
        {
            largest = Math.Max(largest, p[((long)row * BlockRows) + row]);
        }

        for (int row = 0; row < BlockRows; row++)
        {
            float diagonal = p is null ? 1 : p[((long)row * BlockRows) + row];
            if (diagonal > DeadRow * largest)
            {
                long at = ((((long)block / Lanes * BlockRows) + row) * Lanes) + (block % Lanes);
                Inverse[at] = 1 / diagonal;
                Floor[at] = float.NegativeInfinity;
            }
        }
    }

    // Rows of the transposed block, four together: entry (row, k) is block[k, row].
    private void Pack(int block, float* source, float sign, float* pack)
    {
        float* target = pack + (block / Lanes * PackLength) + (block % Lanes);
        for (int k = 0; k < BlockRows; k++)
        {
            for (int row = 0; row < BlockRows; row++)
            {
                target[((((row / 4 * (long)BlockRows) + k) * 4) + (row % 4)) * Lanes] = sign * source[((long)k * BlockRows) + row];
            }
        }
    }
}
