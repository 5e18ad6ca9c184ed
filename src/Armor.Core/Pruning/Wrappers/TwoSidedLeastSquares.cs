using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// The wrapper steps under L(E) = tr(G·E·H·Eᵀ), where G couples the blocks of A as H couples those of B. Both are block Gauss–Seidel, and each the
/// other's transpose: ΔB_j = (U_jᵀGU_j)⁻¹ [U_jᵀ(G·E·H)_j] H_jj⁻¹ with U = A·S, and ΔA_i = G_ii⁻¹ [(G·E·H)_i V_iᵀ] (V_i·H·V_iᵀ)⁻¹ with V = S·B.
/// </summary>
internal static class TwoSidedLeastSquares
{
    /// <summary>Changes A, one row block after another.</summary>
    /// <param name="factorization">Has an A.</param>
    /// <param name="context">Its loss has an output Hessian.</param>
    /// <param name="inverses">G_ii⁻¹ [d_out/b_A, b_A, b_A], float64.</param>
    public static void SolveOutput(ArmorFactorization factorization, StepContext context, Tensor inverses)
    {
        using var scope = NewDisposeScope();
        Tensor g = context.Loss.OutputHessian!;
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
            Tensor residual = BlockDiagonalProduct.RowBlocks(g.narrow(0, first, height).matmul(error), size);
            Tensor right = bmm(BlockDiagonalProduct.RowBlocks(weighted, size), residual.transpose(1, 2));
            Tensor change = Solve(gram, right, g.narrow(0, first, height).narrow(1, first, height), inverses.narrow(0, block, count)).transpose(1, 2);
            blocks.narrow(0, block, count).AddInPlace(change);
            error.narrow(0, first, height).sub_(bmm(change, BlockDiagonalProduct.RowBlocks(own, size)).view(height, factorization.Columns));
        }

        factorization.OutputBlocks = blocks;
    }

    /// <summary>Changes B, one column block after another.</summary>
    /// <param name="factorization">Has a B.</param>
    /// <param name="context">Its loss has an output Hessian.</param>
    /// <param name="inverses">H_jj⁻¹ [d_in/b_B, b_B, b_B], float64.</param>
    public static void SolveInput(ArmorFactorization factorization, StepContext context, Tensor inverses)
    {
        using var scope = NewDisposeScope();
        Tensor g = context.Loss.OutputHessian!;
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
            Tensor weighted = g.matmul(own);
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
