using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>
/// The exact step of A under a full Hessian, on the rows of Ŵ = A·S·B instead of S·B: A_i ← (I + D_i)·A_i with D_i = [E·H·Ŵᵀ]_i [Ŵ·H·Ŵᵀ]_i⁻¹, the same
/// minimum wherever A_i is regular, and Ŵ·H = W·H − E·H is at hand. With weights on the outputs D_i = G_ii⁻¹ [G·E·H·Ŵᵀ]_i [Ŵ·H·Ŵᵀ]_i⁻¹, one block after
/// another: the transpose of B's step.
/// </summary>
internal sealed class OutputStep(FullHessianLoss inputs, OutputHessian? outputs) : IDisposable
{
    private Tensor? weighted;
    private Tensor? inverses;

    /// <summary>Puts a new A in; returns G·E·H after it, in the caller's dispose scope.</summary>
    /// <param name="factorization">A, S and B.</param>
    /// <param name="context">Target and means.</param>
    /// <param name="product">Ŵ.</param>
    /// <param name="error">E; brought up to date.</param>
    /// <param name="residual">E·H; used up.</param>
    public Tensor Solve(ArmorFactorization factorization, StepContext context, Tensor product, Tensor error, Tensor residual)
    {
        using var scope = NewDisposeScope();
        weighted ??= inputs.MultiplyHessian(context.Target, 0, factorization.Columns).DetachFromDisposeScope();
        Tensor result = outputs is null
            ? SolveSeparately(factorization, product, error, residual)
            : SolveCoupled(factorization, context, outputs, product, error, residual);
        return result.MoveToOuterDisposeScope();
    }

    /// <summary>Frees what was kept between cycles.</summary>
    public void Dispose()
    {
        weighted?.Dispose();
        inverses?.Dispose();
    }

    private Tensor SolveSeparately(ArmorFactorization factorization, Tensor product, Tensor error, Tensor residual)
    {
        long size = factorization.OutputBlockSize;
        Tensor a = factorization.OutputBlocks!;
        Tensor rows = BlockDiagonalProduct.RowBlocks(product, size);
        Tensor transposed = rows.transpose(1, 2);
        Tensor hessian = BlockDiagonalProduct.RowBlocks(weighted! - residual, size);
        Tensor change = ProximalSolve.Right(bmm(hessian, transposed), bmm(BlockDiagonalProduct.RowBlocks(residual, size), transposed), zeros_like(a));
        factorization.OutputBlocks = a.Plus(bmm(change, a));
        BlockDiagonalProduct.RowBlocks(error, size).sub_(bmm(change, rows));
        BlockDiagonalProduct.RowBlocks(residual, size).sub_(bmm(change, hessian));
        return residual;
    }

    private Tensor SolveCoupled(
        ArmorFactorization factorization, StepContext context, OutputHessian hessians, Tensor product, Tensor error, Tensor residual)
    {
        long size = factorization.OutputBlockSize;
        inverses ??= WrapperSystems.OutputInverses(hessians, size).DetachFromDisposeScope();
        Tensor blocks = factorization.OutputBlocks!.clone();
        Tensor weightedResidual = empty_like(residual);
        foreach ((long first, long height) in ColumnStrips.Of(factorization.Rows, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            (long block, long count) = (first / size, height / size);
            Tensor own = product.narrow(0, first, height);
            Tensor hessian = weighted!.narrow(0, first, height) - residual.narrow(0, first, height);
            Tensor gradient = hessians.MultiplyRows(residual, first, height);
            weightedResidual.narrow(0, first, height).copy_(gradient);
            Tensor right = bmm(BlockDiagonalProduct.RowBlocks(own, size), BlockDiagonalProduct.RowBlocks(gradient, size).transpose(1, 2)).to(float64);
            Tensor gram = hessian.matmul(own.t()).to(float64);
            Tensor change = BlockGaussSeidel.Solve(
                gram, right, hessians.Block(first, height).to(float64), inverses.narrow(0, block, count)).Changes.transpose(1, 2);
            Tensor part = blocks.narrow(0, block, count);
            part.AddInPlace(bmm(change, part));
            error.narrow(0, first, height).sub_(BlockDiagonalProduct.Left(change, own));

            // Rows below will meet the new residual; those above, and its own, hear of what has changed.
            Tensor added = BlockDiagonalProduct.Left(change, hessian).neg();
            residual.narrow(0, first, height).AddInPlace(added);
            hessians.AddAbove(weightedResidual, added, first);
        }

        factorization.OutputBlocks = blocks;
        return weightedResidual;
    }
}
