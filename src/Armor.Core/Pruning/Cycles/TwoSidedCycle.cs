using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>
/// A cycle under tr(G·E·H·Eᵀ) around one residual E·H, built like <see cref="CoupledCycle"/>. As H couples the columns and B's blocks, so G couples the
/// rows and A's blocks: A is solved one row strip after another, and within a strip of columns the core is swept one row strip after another, each one
/// block with P = Aᵀ·G·A, so that every row knows of the changes above it.
/// </summary>
internal sealed class TwoSidedCycle(TwoSidedLoss loss) : IAlternatingCycle, IDisposable
{
    private readonly InputStrip input = new();
    private readonly OutputHessian outputs = loss.Outputs;
    private Tensor? weighted;
    private Tensor? outputInverses;

    /// <inheritdoc/>
    public double Step(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        FullHessianLoss inputs = loss.Inputs;
        weighted ??= inputs.MultiplyHessian(context.Target, 0, factorization.Columns).DetachFromDisposeScope();
        Tensor product = factorization.Product();
        Tensor error = context.Target - product;
        Tensor residual = inputs.MultiplyHessian(error, 0, factorization.Columns);
        if (factorization.OutputBlocks is not null)
        {
            SolveOutput(factorization, context, product, error, residual);
        }

        double value = outputs.Multiply(error).Inner(residual);
        Tensor core = factorization.Core.clone();
        Tensor? blocks = factorization.InputBlocks?.clone();
        RowStrip[] rows = [.. ColumnStrips.Of(factorization.Rows, factorization.OutputBlockSize).Select(strip => Prepare(factorization, strip.First, strip.Count))];
        try
        {
            foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, CoreSystems.Unit(factorization, context.Pattern)))
            {
                context.CancellationToken.ThrowIfCancellationRequested();
                using var stripScope = NewDisposeScope();
                Tensor own = residual.narrow(1, first, count);
                Tensor hessian = inputs.HessianBlock(first, count);
                Tensor moved = Sweep(factorization, context, rows, own, hessian, first, core);
                Tensor after = own - moved.matmul(hessian);
                value -= outputs.Multiply(moved).Inner(own.Plus(after));
                if (blocks is not null)
                {
                    (Tensor Blocks, Tensor Product, double Loss) solved = input.Solve(
                        factorization, core.narrow(1, first, count), inputs, after, hessian, first, outputs);
                    blocks.narrow(0, first / factorization.InputBlockSize, count / factorization.InputBlockSize).AddInPlace(solved.Blocks);
                    moved = moved.Plus(solved.Product);
                    value += solved.Loss;
                }

                long next = first + count;
                if (next < factorization.Columns)
                {
                    residual.narrow(1, next, factorization.Columns - next).sub_(inputs.MultiplyStrip(moved, first, next));
                }
            }
        }
        finally
        {
            foreach (RowStrip strip in rows)
            {
                strip.Output.Dispose();
            }
        }

        factorization.Core = core;
        factorization.InputBlocks = blocks;
        return Math.Max(0, value);
    }

    /// <summary>Frees what was kept between cycles.</summary>
    public void Dispose()
    {
        input.Dispose();
        weighted?.Dispose();
        outputInverses?.Dispose();
    }

    // Sweeps a strip of columns; returns what it added to Ŵ there.
    private Tensor Sweep(
        ArmorFactorization factorization, StepContext context, RowStrip[] rows, Tensor residual, Tensor hessian, long first, Tensor core)
    {
        using var scope = NewDisposeScope();
        Tensor q = CoreSystems.InputGram(factorization, hessian.unsqueeze(0), first).contiguous();
        Tensor? b = CoreSystems.InputBlocks(factorization, first, hessian.shape[0]);
        Tensor gradient = outputs.Multiply(residual);
        Tensor moved = empty_like(gradient);
        foreach (RowStrip strip in rows)
        {
            using var tileScope = NewDisposeScope();
            Tensor x = BlockDiagonalProduct.Left(strip.Blocks?.transpose(1, 2), gradient.narrow(0, strip.First, strip.Count));
            Tensor projected = BlockDiagonalProduct.Right(x, b?.transpose(1, 2));
            Tensor swept = core.narrow(0, strip.First, strip.Count);
            Tensor tile = swept.narrow(1, first, hessian.shape[0]);
            Tensor old = tile.clone();
            ExactSweep.SweepTile(ContextOf(context, strip), strip.Output, projected, q, first, swept);
            Tensor change = BlockDiagonalProduct.Left(strip.Blocks, BlockDiagonalProduct.Right(tile - old, b).contiguous());
            moved.narrow(0, strip.First, strip.Count).copy_(change);
            outputs.SubtractBelow(gradient, change.matmul(hessian), strip.First);
        }

        return moved.MoveToOuterDisposeScope();
    }

    // The transpose of the B-step, on the rows of Ŵ: A_i ← (I + D_i)·A_i with D_i = G_ii⁻¹ [G·E·H·Ŵᵀ]_i [Ŵ·H·Ŵᵀ]_i⁻¹, one block after another.
    private void SolveOutput(ArmorFactorization factorization, StepContext context, Tensor product, Tensor error, Tensor residual)
    {
        using var scope = NewDisposeScope();
        long size = factorization.OutputBlockSize;
        outputInverses ??= WrapperSystems.OutputInverses(outputs, size).DetachFromDisposeScope();
        Tensor blocks = factorization.OutputBlocks!.clone();
        foreach ((long first, long height) in ColumnStrips.Of(factorization.Rows, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            (long block, long count) = (first / size, height / size);
            Tensor own = product.narrow(0, first, height);
            Tensor hessian = weighted!.narrow(0, first, height) - residual.narrow(0, first, height);
            Tensor gradient = BlockDiagonalProduct.RowBlocks(outputs.MultiplyRows(residual, first, height), size);
            Tensor right = bmm(BlockDiagonalProduct.RowBlocks(own, size), gradient.transpose(1, 2)).to(float64);
            Tensor gram = hessian.matmul(own.t()).to(float64);
            Tensor change = BlockGaussSeidel.Solve(
                gram, right, outputs.Block(first, height).to(float64), outputInverses.narrow(0, block, count)).Changes.transpose(1, 2);
            Tensor part = blocks.narrow(0, block, count);
            part.AddInPlace(bmm(change, part));
            error.narrow(0, first, height).sub_(BlockDiagonalProduct.Left(change, own));
            residual.narrow(0, first, height).sub_(BlockDiagonalProduct.Left(change, hessian));
        }

        factorization.OutputBlocks = blocks;
    }

    private RowStrip Prepare(ArmorFactorization factorization, long first, long count)
    {
        using var scope = NewDisposeScope();
        Tensor? blocks = factorization.OutputBlocks?.narrow(0, first / factorization.OutputBlockSize, count / factorization.OutputBlockSize);
        Tensor gram = BlockDiagonalProduct.Right(BlockDiagonalProduct.Left(blocks?.transpose(1, 2), outputs.Block(first, count)), blocks);
        var output = new SweepOutput(count, null, gram.contiguous().unsqueeze(0), null);
        return new RowStrip(first, count, blocks?.MoveToOuterDisposeScope(), output);
    }

    // Random choices of its own for every strip of rows; one block is not worth threads.
    private static StepContext ContextOf(StepContext context, RowStrip strip) => new(context.Target, context.Loss)
    {
        Step = context.Step,
        Seed = Seeds.Mix(context.Seed, (ulong)strip.First),
        Noise = context.Noise,
        Pattern = context.Pattern,
        MaxDegreeOfParallelism = 1,
        CancellationToken = context.CancellationToken,
    };

    // Rows that are swept as one block; Blocks is A there.
    private readonly record struct RowStrip(long First, long Count, Tensor? Blocks, SweepOutput Output);
}
