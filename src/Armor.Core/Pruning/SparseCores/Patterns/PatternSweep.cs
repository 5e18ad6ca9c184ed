using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores.Patterns;

/// <summary>
/// One strip of columns in a sweep: pointers into contiguous float32 memory. With Q = B·H·Bᵀ of the strip and P_i = A_iᵀA_i, the residual product of
/// row block i is R_i − P_i·T_i.
/// </summary>
internal unsafe struct PatternStrip
{
    /// <summary>The pattern's masks.</summary>
    public MaskTable Masks;

    /// <summary>Columns of the strip, whole groups.</summary>
    public int Width;

    /// <summary>Q [width, width].</summary>
    public float* Q;

    /// <summary>R [d_out, width].</summary>
    public float* R;

    /// <summary>T [d_out, width], kept up to date.</summary>
    public float* T;

    /// <summary>S of the strip: row r begins at S + r·StrideS. Updated.</summary>
    public float* S;

    /// <summary>Floats from row to row of S.</summary>
    public long StrideS;

    /// <summary>The inverses of all groups, see <see cref="GroupInverses"/>.</summary>
    public float* Coefficients;
}

/// <summary>The exact sweep for any pattern: masks side by side in SIMD lanes, blocks of A and strips of columns over threads.</summary>
internal static unsafe class PatternSweep
{
    // Rows of the identity are handed out in lots of this many, and this many weights are worth another thread.
    private const int RowsPerItem = 32;
    private const long WorthThreads = 32 * 1024;

    /// <summary>Sweeps neighbouring strips; the core is changed in place.</summary>
    /// <param name="q">Q by strips [n, width, width], contiguous.</param>
    /// <param name="r">R by strips [n, d_out, width], contiguous.</param>
    /// <param name="t">S·Q by strips, or zeros where R is of the residual; contiguous, changed.</param>
    /// <param name="gram">P by blocks; null where A is the identity.</param>
    /// <param name="core">S [d_out, d_in], contiguous.</param>
    /// <param name="firstColumn">The first strip's first column.</param>
    /// <param name="context">Pattern, noise and means.</param>
    public static void Run(Tensor q, Tensor r, Tensor t, Tensor? gram, Tensor core, long firstColumn, StepContext context)
    {
        MaskTable masks = MaskTable.Of(context.Pattern);
        int strips = (int)q.shape[0];
        int width = (int)q.shape[1];
        long rows = core.shape[0];
        long columns = core.shape[1];
        int outputBlock = (int)(gram?.shape[1] ?? 1);
        int blocks = (int)(rows / outputBlock);
        int blocksPerItem = Math.Max(1, RowsPerItem / outputBlock);
        int itemsPerStrip = (blocks + blocksPerItem - 1) / blocksPerItem;
        float* qs = CoreSystems.Pointer(q);
        float* rs = CoreSystems.Pointer(r);
        float* ts = CoreSystems.Pointer(t);
        float* ps = gram is null ? null : CoreSystems.Pointer(gram);
        float* ss = CoreSystems.Pointer(core) + firstColumn;
        int groups = width / context.Pattern.Group;
        long coefficientLength = (long)groups * masks.CoefficientsPerGroup;
        float* coefficients = (float*)NativeMemory.AlignedAlloc((nuint)(strips * coefficientLength) * sizeof(float), 64);
        try
        {
            bool threaded = context.MaxDegreeOfParallelism > 1 && rows * width * strips >= WorthThreads;
            var options = new ParallelOptions
            {
                MaxDegreeOfParallelism = threaded ? context.MaxDegreeOfParallelism : 1,
                CancellationToken = context.CancellationToken,
            };
            Parallel.For(0, strips * groups, options, Prepare);
            Parallel.For(0, strips * itemsPerStrip, options, Item);
        }
        finally
        {
            NativeMemory.AlignedFree(coefficients);
        }

        GC.KeepAlive((q, r, t, gram, core));

        void Prepare(int group)
        {
            int column = group % groups * context.Pattern.Group;
            float* diagonal = qs + ((long)(group / groups) * width * width) + ((long)column * width) + column;
            GroupInverses.Prepare(masks, diagonal, width, coefficients + ((long)group * masks.CoefficientsPerGroup));
        }

        // Rows of one strip are neighbours in the numbering, so that a thread keeps the strip's Q in its cache.
        void Item(int item)
        {
            int index = item / itemsPerStrip;
            int first = item % itemsPerStrip * blocksPerItem;
            var strip = new PatternStrip
            {
                Masks = masks,
                Width = width,
                Q = qs + ((long)index * width * width),
                R = rs + (index * rows * width),
                T = ts + (index * rows * width),
                S = ss + ((long)index * width),
                StrideS = columns,
                Coefficients = coefficients + (index * coefficientLength),
            };
            float* scratch = (float*)NativeMemory.Alloc((nuint)PatternSweepKernel.ScratchLength(width), sizeof(float));
            try
            {
                ulong seed = Seeds.Mix(context.Seed, (ulong)(firstColumn + ((long)index * width)));
                for (int block = first; block < Math.Min(first + blocksPerItem, blocks); block++)
                {
                    float* p = ps is null ? null : ps + ((long)block * outputBlock * outputBlock);
                    PatternSweepKernel.Sweep(
                        strip, (long)block * outputBlock, outputBlock, p, context.Noise, Seeds.Mix(seed, (ulong)block), scratch);
                }
            }
            finally
            {
                NativeMemory.Free(scratch);
            }
        }
    }
}
