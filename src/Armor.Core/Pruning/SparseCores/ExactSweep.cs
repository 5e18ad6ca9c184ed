using System.Runtime.InteropServices;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One exact sweep over every group of four in the core: each gets the best of its six masks with optimal values while all other groups stay
/// still. Costs about one gradient. Without noise it never raises the loss. Blocks of A that do not touch run in parallel; the result does not
/// depend on the number of threads.
/// </summary>
public sealed class ExactSweep : ISparseCoreSelector, IDisposable
{
    // Rows of the identity are handed out in lots of this many, so that a work item is worth its dispatch.
    private const int RowsPerItem = 32;

    private readonly HessianBlocks hessians = new();

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        using var scope = NewDisposeScope();
        if (factorization.Core.device_type != DeviceType.CPU)
        {
            throw new NotSupportedException("The exact sweep works on CPU tensors; move the weight to the CPU first.");
        }

        Tensor? gram = CoreSystems.OutputGram(factorization);
        long unit = CoreSystems.Unit(factorization);
        Tensor core = factorization.Core.clone();
        if (context.Loss.CouplesBlocks(unit))
        {
            SweepCoupled(factorization, context, gram, core, unit);
        }
        else
        {
            SweepSeparable(factorization, context, gram, core, unit);
        }

        factorization.Core = core;
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessians.Dispose();

    private void SweepSeparable(ArmorFactorization factorization, StepContext context, Tensor? gram, Tensor core, long width)
    {
        long columns = factorization.Columns;
        Tensor q = CoreSystems.InputGram(factorization, hessians.Of(context.Loss, columns, width), 0).contiguous();
        Tensor r = CoreSystems.Project(factorization, context.Loss.MultiplyHessian(context.Target, 0, columns), 0, columns);
        Tensor stripsOfR = BlockDiagonalProduct.ColumnBlocks(r, width);
        Tensor t = bmm(BlockDiagonalProduct.ColumnBlocks(core, width), q);
        SweepAll(q, stripsOfR, t, gram, core, 0, factorization.OutputBlockSize, context);
    }

    private static void SweepCoupled(ArmorFactorization factorization, StepContext context, Tensor? gram, Tensor core, long unit)
    {
        Tensor error = context.Target - factorization.Product();
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, unit))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor old = core.narrow(1, first, count).contiguous();
            Tensor q = CoreSystems.InputGram(factorization, context.Loss.HessianBlock(first, count).unsqueeze(0), first).contiguous();
            Tensor t = old.matmul(q[0]);
            Tensor r = CoreSystems.Project(factorization, context.Loss.MultiplyHessian(error, first, count), first, count);
            r = r.Plus(gram is null ? t : BlockDiagonalProduct.Left(gram, t));
            SweepAll(q, r.contiguous().unsqueeze(0), t.unsqueeze(0), gram, core, first, factorization.OutputBlockSize, context);

            Tensor moved = BlockDiagonalProduct.Right(core.narrow(1, first, count) - old, CoreSystems.InputBlocks(factorization, first, count));
            error.narrow(1, first, count).sub_(factorization.MultiplyOutput(moved.contiguous()));
        }
    }

    private static unsafe void SweepAll(
        Tensor q, Tensor r, Tensor t, Tensor? gram, Tensor core, long firstColumn, long outputBlock, StepContext context)
    {
        int strips = (int)q.shape[0];
        int width = (int)q.shape[1];
        long rows = core.shape[0];
        long columns = core.shape[1];
        int rowBlocks = (int)(rows / outputBlock);
        int blocksPerItem = (int)Math.Max(1, RowsPerItem / outputBlock);
        int itemsPerStrip = (rowBlocks + blocksPerItem - 1) / blocksPerItem;

        float* qs = CoreSystems.Pointer(q);
        float* rs = CoreSystems.Pointer(r);
        float* ts = CoreSystems.Pointer(t);
        float* ps = gram is null ? null : CoreSystems.Pointer(gram);
        float* ss = CoreSystems.Pointer(core) + firstColumn;
        int coefficientLength = width / 4 * MaskPairs.CoefficientsPerGroup;
        float* coefficients = (float*)NativeMemory.AlignedAlloc((nuint)strips * (nuint)coefficientLength * sizeof(float), 64);
        try
        {
            for (int strip = 0; strip < strips; strip++)
            {
                MaskPairs.Prepare(qs + ((long)strip * width * width), width, width, coefficients + ((long)strip * coefficientLength));
            }

            var options = new ParallelOptions
            {
                MaxDegreeOfParallelism = context.MaxDegreeOfParallelism,
                CancellationToken = context.CancellationToken,
            };
            int items = strips * itemsPerStrip;
            if (context.MaxDegreeOfParallelism == 1 || (long)width * rows * strips < 32 * 1024)
            {
                for (int item = 0; item < items; item++)
                {
                    Item(item);
                }
            }
            else
            {
                Parallel.For(0, items, options, Item);
            }
        }
        finally
        {
            NativeMemory.AlignedFree(coefficients);
        }

        // Rows of one strip are neighbours in the numbering, so that a thread keeps the strip's Q in its cache.
        void Item(int item)
        {
            int index = item / itemsPerStrip;
            int firstBlock = item % itemsPerStrip * blocksPerItem;
            var strip = new SweepStrip
            {
                Width = width,
                Q = qs + ((long)index * width * width),
                R = rs + (index * rows * width),
                T = ts + (index * rows * width),
                S = ss + ((long)index * width),
                StrideS = columns,
                Coefficients = coefficients + ((long)index * coefficientLength),
            };
            int scratchLength = SweepKernel.ScratchLength(width);
            float* scratch = (float*)NativeMemory.AlignedAlloc((nuint)scratchLength * sizeof(float), 64);
            try
            {
                ulong stripSeed = Seeds.Mix(context.Seed, (ulong)(firstColumn + ((long)index * width)));
                for (int block = firstBlock; block < Math.Min(firstBlock + blocksPerItem, rowBlocks); block++)
                {
                    float* p = ps is null ? null : ps + (block * outputBlock * outputBlock);
                    SweepKernel.Sweep(
                        strip, block * outputBlock, (int)outputBlock, p, context.Noise, Seeds.Mix(stripSeed, (ulong)block), scratch);
                }
            }
            finally
            {
                NativeMemory.AlignedFree(scratch);
            }
        }
    }
}
