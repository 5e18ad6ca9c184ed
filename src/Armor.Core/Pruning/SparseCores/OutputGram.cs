using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores.Patterns;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// P = Aᵀ·G·A, by which the rows of a core are coupled while A stays as it is: the blocks of AᵀA, or, with weights on the outputs, blocks as large as
/// those of G (joined where a block of A reaches over their border). Everything on the left of the core is here: products with P, and exact sweeps.
/// </summary>
internal sealed class OutputGram : IDisposable
{
    // One block a lane pays where there are many blocks; few or large ones have their columns in the lanes.
    private const long LargestLaneBlock = 256;
    private const long FewestLaneBlocks = 4;

    private readonly Part[] parts;

    /// <summary>Makes P.</summary>
    /// <param name="factorization">Holds A.</param>
    /// <param name="outputs">G; <see langword="null"/> for the identity.</param>
    public OutputGram(ArmorFactorization factorization, OutputHessian? outputs)
    {
        using var scope = NewDisposeScope();
        parts = outputs is null
            ? [new Part(0, factorization.Rows, CoreSystems.OutputGram(factorization)?.DetachFromDisposeScope())]
            : [.. Batches(outputs, factorization.OutputBlockSize).Select(batch => Weighted(factorization, outputs, batch))];
    }

    /// <summary>Whether to sweep by tensor operations on the CPU too, for tests.</summary>
    public bool Batched { get; init; }

    /// <summary>The number of lanes, for tests; <see langword="null"/>: as the hardware has.</summary>
    public int? Lanes { get; init; }

    /// <summary>P·X.</summary>
    /// <param name="x">[d_out, n].</param>
    /// <returns>[d_out, n], in the caller's dispose scope; X itself where P is the identity.</returns>
    public Tensor Multiply(Tensor x)
    {
        if (parts.Length == 1)
        {
            return parts[0].Multiply(x);
        }

        using var scope = NewDisposeScope();
        return cat([.. parts.Select(part => part.Multiply(x.narrow(0, part.First, part.Rows)))]).MoveToOuterDisposeScope();
    }

    /// <summary>Sweeps a strip of columns from its residual product D·Bᵀ − P·Δ·Q.</summary>
    /// <param name="context">Seed, noise and means.</param>
    /// <param name="gradient">D = Aᵀ·(G·E·H) of the strip [d_out, width].</param>
    /// <param name="b">The blocks of B in the strip; <see langword="null"/> for the identity.</param>
    /// <param name="q">Q [width, width].</param>
    /// <param name="first">The strip's first column.</param>
    /// <param name="core">The whole core [d_out, d_in], changed in place.</param>
    public void Sweep(StepContext context, Tensor gradient, Tensor? b, Tensor q, long first, Tensor core)
    {
        using var scope = NewDisposeScope();
        Tensor? m = b?.transpose(1, 2);
        q = q.contiguous();
        foreach (Part part in parts)
        {
            // Random choices of its own for every part.
            StepContext own = part.First == 0 ? context : context.WithSeed(Seeds.Mix(context.Seed, (ulong)part.First));
            Sweep(own, part, gradient.narrow(0, part.First, part.Rows), m, q, first, core.narrow(0, part.First, part.Rows));
        }
    }

    /// <summary>Frees P.</summary>
    public void Dispose()
    {
        foreach (Part part in parts)
        {
            part.Dispose();
        }
    }

    private unsafe void Sweep(StepContext context, Part part, Tensor gradient, Tensor? m, Tensor q, long first, Tensor core)
    {
        if (Batched || core.device_type != DeviceType.CPU)
        {
            BatchedSweep.Check(context.Pattern);
            Tensor strip = core.narrow(1, first, q.shape[0]);
            strip.copy_(BatchedSweep.Sweep(context, BlockDiagonalProduct.Right(gradient, m), part.Gram, q.unsqueeze(0), strip));
        }
        else if (context.Pattern == SparsityPattern.TwoFour && part.Gram is { } gram && (gram.shape[1] > LargestLaneBlock || gram.shape[0] < FewestLaneBlocks))
        {
            Tensor x = BlockDiagonalProduct.Right(gradient, m).contiguous();
            using var task = new ColumnSweepTask(q)
            {
                X = CoreSystems.Pointer(x),
                S = CoreSystems.Pointer(core) + first,
                StrideS = core.stride(0),
                FirstColumn = first,
                Seed = context.Seed,
                Noise = context.Noise,
                Lanes = Lanes,
                Reach = part.Joined?.Reach,
            };
            task.Run(part.Padded(), (int)gram.shape[1], context.MaxDegreeOfParallelism, context.CancellationToken);
            GC.KeepAlive((x, core));
        }
        else
        {
            ExactSweep.SweepRows(context, part.Output(Lanes), gradient, m, q.unsqueeze(0), first, core);
        }
    }

    // Neighbouring runs of as many rows make one batch, if each is one block of G.
    private static IEnumerable<Batch> Batches(OutputHessian outputs, long size)
    {
        Batch? batch = null;
        foreach ((long first, IReadOnlyList<long> ends) in outputs.Runs(size))
        {
            long rows = ends[^1] - first;
            if (batch is not null && batch.Rows == rows && batch.Ends.Count == 1 && ends.Count == 1)
            {
                batch = batch with { Count = batch.Count + 1 };
                continue;
            }

            if (batch is not null)
            {
                yield return batch;
            }

            batch = new Batch(first, rows, 1, ends);
        }

        yield return batch!;
    }

    private static Part Weighted(ArmorFactorization factorization, OutputHessian outputs, Batch batch)
    {
        using var scope = NewDisposeScope();
        (long first, long rows, long count, IReadOnlyList<long> ends) = batch;
        Tensor values = stack([.. Enumerable.Range(0, (int)count).Select(i => outputs.Block(first + (i * rows), rows))]);
        long size = factorization.OutputBlockSize;
        Tensor? a = null;
        if (factorization.OutputBlocks is { } all)
        {
            // Blocks of A on both sides of the blocks of G, all at once.
            a = all.narrow(0, first / size, count * rows / size);
            Tensor transposed = a.transpose(1, 2);
            Tensor left = BlockDiagonalProduct.Left(transposed, values.view(count * rows, rows)).view(count, rows, rows);
            values = BlockDiagonalProduct.Left(transposed, left.transpose(1, 2).reshape(count * rows, rows)).view(count, rows, rows);
        }

        return new Part(first, count * rows, values.contiguous().DetachFromDisposeScope())
        {
            Joined = ends.Count == 1 ? null : new Joined(outputs, a!.alias().DetachFromDisposeScope(), Reach(first, ends, size)),
        };
    }

    // Most of P is zero where blocks of G are joined: a row reaches to the last block of A that the last block of G meets which its own block of A meets.
    private static int[] Reach(long first, IReadOnlyList<long> ends, long size)
    {
        int[] reach = new int[ends[^1] - first];
        for (int row = 0; row < reach.Length; row++)
        {
            long last = (((first + row) / size) + 1) * size;
            long end = ends.First(end => end >= last);
            reach[row] = (int)(((end + size - 1) / size * size) - first);
        }

        return reach;
    }

    // Count blocks of as many rows, each one block of G or several that are joined.
    private sealed record Batch(long First, long Rows, long Count, IReadOnlyList<long> Ends);

    // Where blocks of G are joined, products go through A and G instead of P, and changes of a row no further than its reach.
    private sealed record Joined(OutputHessian Outputs, Tensor A, int[] Reach);

    // Neighbouring rows with blocks of one size.
    private sealed class Part(long first, long rows, Tensor? gram) : IDisposable
    {
        private SweepOutput? output;
        private Tensor? padded;

        public long First => first;

        public long Rows => rows;

        public Tensor? Gram => gram;

        public Joined? Joined { get; init; }

        public Tensor Multiply(Tensor x)
        {
            if (Joined is null)
            {
                return BlockDiagonalProduct.Left(gram, x);
            }

            using var scope = NewDisposeScope();
            Tensor weighted = Joined.Outputs.Multiply(BlockDiagonalProduct.Left(Joined.A, x), first);
            return BlockDiagonalProduct.Left(Joined.A.transpose(1, 2), weighted).MoveToOuterDisposeScope();
        }

        // By lanes, for as many sweeps as there are.
        public SweepOutput Output(int? lanes) => output ??= new SweepOutput(rows, null, gram, lanes);

        // With rows and columns of zeros up to a multiple of four.
        public Tensor Padded()
        {
            if (padded is null)
            {
                using var scope = NewDisposeScope();
                long missing = (4 - (gram!.shape[1] % 4)) % 4;
                padded = (missing == 0 ? gram.alias() : nn.functional.pad(gram, [0, missing, 0, missing])).contiguous().DetachFromDisposeScope();
            }

            return padded;
        }

        public void Dispose()
        {
            output?.Dispose();
            padded?.Dispose();
            Joined?.A.Dispose();
            gram?.Dispose();
        }
    }
}
