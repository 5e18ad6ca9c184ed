using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// The wrapper steps under L(E) = tr(G·E·H·Eᵀ), where G couples the blocks of A as H couples those of B. Both are block Gauss–Seidel, and each the
/// other's transpose: ΔB_j = (U_jᵀGU_j)⁻¹ [U_jᵀ(G·E·H)_j] H_jj⁻¹ with U = A·S, and ΔA_i = G_ii⁻¹ [(G·E·H)_i V_iᵀ] (V_i·H·V_iᵀ)⁻¹ with V = S·B.
/// </summary>
internal sealed class TwoSidedLeastSquares : IDisposable
{
    private IProxyLoss? inversesOf;
    private Tensor? inputInverses;
    private Tensor? outputInverses;

    /// <summary>Changes A, then B, where the factorisation has them.</summary>
    /// <param name="factorization">The state.</param>
    /// <param name="context">The target and the loss.</param>
    /// <param name="outputs">The loss's G.</param>
    public void Step(ArmorFactorization factorization, StepContext context, OutputHessian outputs)
    {
        using var scope = NewDisposeScope();
        if (!ReferenceEquals(inversesOf, context.Loss))
        {
            Dispose();
            inversesOf = context.Loss;
        }

        if (factorization.OutputBlocks is not null)
        {
            outputInverses ??= WrapperSystems.OutputInverses(outputs, factorization.OutputBlockSize).DetachFromDisposeScope();
            SolveOutput(factorization, context, outputs, outputInverses);
        }

        context.CancellationToken.ThrowIfCancellationRequested();
        if (factorization.InputBlocks is not null)
        {
            inputInverses ??= WrapperSystems.HessianInverses(context.Loss, factorization.Columns, factorization.InputBlockSize).DetachFromDisposeScope();
            SolveInput(factorization, context, outputs, inputInverses);
        }
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose()
    {
        inputInverses?.Dispose();
        outputInverses?.Dispose();
        inputInverses = outputInverses = null;
    }

    // One row block after another; inverses are those of G_ii.
    private static void SolveOutput(ArmorFactorization factorization, StepContext context, OutputHessian g, Tensor inverses)
    {
        using var scope = NewDisposeScope();
        long size = factorization.OutputBlockSize;
        Tensor v = factorization.MultiplyInput(factorization.Core);
        Tensor error = context.Target - factorization.Product();
        Tensor blocks = factorization.OutputBlocks!.clone();
        foreach ((long first, long height) in ColumnStrips.Of(factorization.Rows, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            (long block, long count) = (first / size, height / size);
            Tensor own = v.narrow(0, first, height);
            Tensor weighted = context.Loss.MultiplyHessian(own, 0, factorization.Columns);
            Tensor gram = weighted.matmul(own.t());
            Tensor residual = BlockDiagonalProduct.RowBlocks(g.MultiplyRows(error, first, height), size);
            Tensor right = bmm(BlockDiagonalProduct.RowBlocks(weighted, size), residual.transpose(1, 2));
            Tensor change = Solve(gram, right, g.Block(first, height), inverses.narrow(0, block, count)).transpose(1, 2);
            blocks.narrow(0, block, count).AddInPlace(change);
            error.narrow(0, first, height).sub_(bmm(change, BlockDiagonalProduct.RowBlocks(own, size)).view(height, factorization.Columns));
        }

        factorization.OutputBlocks = blocks;
    }

    // One column block after another; inverses are those of H_jj.
    private static void SolveInput(ArmorFactorization factorization, StepContext context, OutputHessian g, Tensor inverses)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor u = factorization.MultiplyOutput(factorization.Core);
        Tensor error = context.Target - factorization.Product();
        Tensor blocks = factorization.InputBlocks!.clone();
        foreach ((long first, long width) in ColumnStrips.Of(factorization.Columns, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            (long block, long count) = (first / size, width / size);
            Tensor own = u.narrow(1, first, width);
            Tensor weighted = g.Multiply(own);
            Tensor residual = BlockDiagonalProduct.ColumnBlocks(context.Loss.MultiplyHessian(error, first, width), size);
            Tensor right = bmm(BlockDiagonalProduct.ColumnBlocks(weighted, size).transpose(1, 2), residual);
            Tensor change = Solve(weighted.t().matmul(own), right, context.Loss.HessianBlock(first, width), inverses.narrow(0, block, count));
            blocks.narrow(0, block, count).AddInPlace(change);
            error.narrow(1, first, width).sub_(BlockDiagonalProduct.FromColumnBlocks(bmm(BlockDiagonalProduct.ColumnBlocks(own, size), change)));
        }

        factorization.InputBlocks = blocks;
    }

    // The changes of the blocks of one strip: gram and Hessian [count·b, count·b], right and the Hessian's inverses [count, b, b].
    private static Tensor Solve(Tensor gram, Tensor right, Tensor hessian, Tensor inverses)
    {
        (long count, long size) = (right.shape[0], right.shape[1]);
        Tensor own = stack([.. Enumerable.Range(0, (int)count).Select(block => gram.narrow(0, block * size, size).narrow(1, block * size, size))]);
        double[] changes = BlockGaussSeidel.Solve(
            (int)count, (int)size, Values(gram), Values(right), Values(hessian), Values(ProximalSolve.Inverse(own)), Values(inverses));
        return tensor(changes).view(count, size, size).to(float32);
    }

    private static double[] Values(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.to(float64).contiguous().data<double>().ToArray();
    }
}
