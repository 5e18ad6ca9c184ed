using System.Runtime.InteropServices;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One exact sweep over several strips of columns, ready for the kernel: with Q = B·H·Bᵀ of a strip and P_i = A_iᵀA_i, the residual product of row
/// block i is A_iᵀ·X_i·M − P_i·T_i, where T is S·Q, or Δ·Q if X is the residual already (<see cref="FromChanges"/>). Pointers are to float32.
/// </summary>
/// <remarks>
/// A and P lie ready by lanes: [group of lanes][row / 4][k][4][lane], P negated, rows past the block's last and lanes past the last block zero.
/// </remarks>
internal sealed unsafe class SweepTask : IDisposable
{
    // A row whose column of A is this much smaller than the largest carries nothing; its values would only blow up.
    internal const float DeadRow = 1e-12f;

    private readonly List<nint> memory = [];

    /// <summary>Sets the sizes.</summary>
    /// <param name="rows">d_out.</param>
    /// <param name="blockRows">b_A; 0 where A is the identity.</param>
    /// <param name="strips">The number of strips.</param>
    /// <param name="width">Columns of a strip, a multiple of four.</param>
    /// <param name="lanes">Blocks that go together; null for the best on this machine.</param>
    public SweepTask(long rows, int blockRows, int strips, int width, int? lanes)
    {
        // Rows without a wrapper are independent; four at a time fill the products.
        BlockRows = blockRows > 0 ? blockRows : rows % 4 == 0 ? 4 : 1;
        Blocks = (int)(rows / BlockRows);
        Strips = strips;
        Width = width;
        Lanes = lanes ?? SweepSchedule.LanesFor(Blocks);
        Groups = (Blocks + Lanes - 1) / Lanes;
        PackLength = (long)PaddedRows * BlockRows * Lanes;
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

    /// <summary>Strips of columns.</summary>
    public int Strips { get; }

    /// <summary>Columns of a strip.</summary>
    public int Width { get; }

    /// <summary>Floats of A or P a group of lanes.</summary>
    public long PackLength { get; }

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

    /// <summary>A by lanes; null for the identity.</summary>
    public float* A { get; private set; }

    /// <summary>−P by lanes; null for the identity.</summary>
    public float* P { get; private set; }

    /// <summary>1/P_rr [group][row][lane]; 0 in dead rows.</summary>
    public float* Inverse { get; private set; }

    /// <summary>The gain a mask must exceed [group][row][lane]: none, or infinity in dead rows.</summary>
    public float* Floor { get; private set; }

    /// <summary>Q [strip][width, width].</summary>
    public float* Q { get; private set; }

    /// <summary>Q as [strip][column / 4][row][4].</summary>
    public float* PackedQ { get; private set; }

    /// <summary>M's diagonal blocks as [strip][column / 4][row][4]; null for the identity.</summary>
    public float* M { get; private set; }

    /// <summary>The size of M's blocks.</summary>
    public int BlockM { get; private set; }

    /// <summary>The inverses of the 2×2 systems, see <see cref="MaskPairs.Prepare"/>.</summary>
    public float* Coefficients { get; private set; }

    /// <summary>Lays out A and P; both null for the identity.</summary>
    /// <param name="a">The blocks of A [blocks, b_A, b_A].</param>
    /// <param name="p">The blocks of AᵀA [blocks, b_A, b_A].</param>
    public void PrepareOutput(float* a, float* p)
    {
        long diagonals = (long)Groups * BlockRows * Lanes;
        Inverse = Allocate(diagonals);
        Floor = Allocate(diagonals);
        new Span<float>(Floor, checked((int)diagonals)).Fill(float.PositiveInfinity);
        if (a is not null)
        {
            A = Allocate(Groups * PackLength);
            P = Allocate(Groups * PackLength);
        }

        for (int block = 0; block < Blocks; block++)
        {
            long own = (long)block * BlockRows * BlockRows;
            Diagonal(block, p is null ? null : p + own);
            if (a is not null)
            {
                Pack(block, a + own, 1, A);
                Pack(block, p + own, -1, P);
            }
        }
    }

    /// <summary>Lays out Q, M and the masks' systems.</summary>
    /// <param name="q">Q [strips, width, width].</param>
    /// <param name="m">M's diagonal blocks [strips · width / blockM, blockM, blockM]; null for the identity.</param>
    /// <param name="blockM">The size of M's blocks.</param>
    public void PrepareInput(float* q, float* m, int blockM)
    {
        Q = q;
        PackedQ = Allocate((long)Strips * Width * Width);
        PackColumns(q, Width, Strips, PackedQ);
        if (m is not null)
        {
            BlockM = blockM;
            M = Allocate((long)Strips * Width * blockM);
            PackColumns(m, blockM, Strips * Width / blockM, M);
        }

        int length = Width / 4 * MaskPairs.CoefficientsPerGroup;
        Coefficients = Allocate((long)Strips * length);
        for (int strip = 0; strip < Strips; strip++)
        {
            MaskPairs.Prepare(q + ((long)strip * Width * Width), Width, Width, Coefficients + ((long)strip * length));
        }
    }

    /// <summary>Frees what was laid out.</summary>
    public void Dispose()
    {
        foreach (nint part in memory)
        {
            NativeMemory.AlignedFree((void*)part);
        }

        memory.Clear();
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

    private float* Allocate(long length)
    {
        nuint bytes = (nuint)length * sizeof(float);
        void* part = NativeMemory.AlignedAlloc(bytes, 64);
        NativeMemory.Clear(part, bytes);
        memory.Add((nint)part);
        return (float*)part;
    }
}
