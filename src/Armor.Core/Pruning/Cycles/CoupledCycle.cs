using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>
/// A cycle under the full Hessian around one residual E·H: A first, then strip after strip of columns the core and B. What a strip changes goes to
/// the residual of the strips after it, so a cycle costs one and a half products with H instead of one for each part.
/// </summary>
/// <remarks>
/// The A-step works on the rows of Ŵ = A·S·B instead of S·B: A_i ← (I + D_i)·A_i with D_i = [E·H·Ŵᵀ]_i [Ŵ·H·Ŵᵀ]_i⁻¹, the same minimum wherever A_i
/// is regular, and Ŵ·H = W·H − E·H is at hand. The loss follows from E·H and from what each part takes off it.
/// </remarks>
internal sealed class CoupledCycle : IAlternatingCycle, IDisposable
{
    private readonly ExactSweep sweep = new();
    private readonly InputStrip input = new();
    private readonly FullHessianLoss loss;
    private Tensor? weighted;

    public CoupledCycle(FullHessianLoss loss)
    {
        this.loss = loss;
    }

    /// <inheritdoc/>
    public double Step(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        weighted ??= loss.MultiplyHessian(context.Target, 0, factorization.Columns).DetachFromDisposeScope();
        Tensor product = factorization.Product();
        Tensor error = context.Target - product;
        Tensor residual = loss.MultiplyHessian(error, 0, factorization.Columns);
        if (factorization.OutputBlocks is not null)
        {
            SolveOutput(factorization, product, error, residual);
        }

        double value = error.Inner(residual);
        Tensor core = factorization.Core.clone();
        Tensor? blocks = factorization.InputBlocks?.clone();
        using SweepOutput? output = sweep.Prepare(factorization, context);
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, CoreSystems.Unit(factorization, context.Pattern)))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor own = residual.narrow(1, first, count);
            Tensor hessian = loss.HessianBlock(first, count);
            Tensor part = core.narrow(1, first, count);
            Tensor old = part.clone();
            ExactSweep.SweepStrip(factorization, context, output, own, hessian, first, core);
            Tensor change = BlockDiagonalProduct.Right(part - old, CoreSystems.InputBlocks(factorization, first, count));
            Tensor moved = factorization.MultiplyOutput(change.contiguous());
            Tensor after = own - moved.matmul(hessian);
            value -= moved.Inner(own.Plus(after));
            if (blocks is not null)
            {
                (Tensor Blocks, Tensor Product, double Loss) solved = input.Solve(factorization, part, loss, after, hessian, first);
                blocks.narrow(0, first / factorization.InputBlockSize, count / factorization.InputBlockSize).AddInPlace(solved.Blocks);
                moved = moved.Plus(solved.Product);
                value += solved.Loss;
            }

            long next = first + count;
            if (next < factorization.Columns)
            {
                residual.narrow(1, next, factorization.Columns - next).sub_(loss.MultiplyStrip(moved, first, next));
            }
        }

        factorization.Core = core;
        factorization.InputBlocks = blocks;
        return Math.Max(0, value);
    }

    /// <summary>Frees what was kept between cycles.</summary>
    public void Dispose()
    {
        sweep.Dispose();
        input.Dispose();
        weighted?.Dispose();
    }

    private void SolveOutput(ArmorFactorization factorization, Tensor product, Tensor error, Tensor residual)
    {
        using var scope = NewDisposeScope();
        long size = factorization.OutputBlockSize;
        Tensor a = factorization.OutputBlocks!;
        Tensor rows = BlockDiagonalProduct.RowBlocks(product, size);
        Tensor transposed = rows.transpose(1, 2);
        Tensor hessian = BlockDiagonalProduct.RowBlocks(weighted! - residual, size);
        Tensor change = ProximalSolve.Right(bmm(hessian, transposed), bmm(BlockDiagonalProduct.RowBlocks(residual, size), transposed), zeros_like(a));
        factorization.OutputBlocks = a.Plus(bmm(change, a));
        BlockDiagonalProduct.RowBlocks(error, size).sub_(bmm(change, rows));
        BlockDiagonalProduct.RowBlocks(residual, size).sub_(bmm(change, hessian));
    }
}
