using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>The small systems of equations that wrapper optimisers share.</summary>
internal static class WrapperSystems
{
    // Relative to the Hessian's own diagonal, so that columns of any scale are treated alike.
    private const double HessianRidge = 1e-6;

    /// <summary>V_i·H·V_iᵀ and W_i·H·V_iᵀ for every block row i, V = S·B; both [d_out/b_A, b_A, b_A].</summary>
    public static (Tensor Gram, Tensor Right) Output(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.OutputBlockSize;
        Tensor v = factorization.MultiplyInput(factorization.Core);
        Tensor weighted = BlockDiagonalProduct.RowBlocks(context.Loss.MultiplyHessian(v, 0, factorization.Columns), size).transpose(1, 2);
        Tensor gram = bmm(BlockDiagonalProduct.RowBlocks(v, size), weighted);
        Tensor right = bmm(BlockDiagonalProduct.RowBlocks(context.Target, size), weighted);
        return (gram.MoveToOuterDisposeScope(), right.MoveToOuterDisposeScope());
    }

    /// <summary>The inverses of the Hessian's diagonal blocks [d_in/b, b, b], float64, with a small relative ridge.</summary>
    public static Tensor HessianInverses(IProxyLoss loss, long columns, long size)
    {
        using var scope = NewDisposeScope();
        return Inverses(HessianBlocks.Gather(loss, 0, columns, size)).MoveToOuterDisposeScope();
    }

    /// <summary>The inverses of G's diagonal blocks [d_out/b, b, b], float64, with a small relative ridge.</summary>
    public static Tensor OutputInverses(OutputHessian hessian, long size)
    {
        using var scope = NewDisposeScope();
        return Inverses(stack([.. Enumerable.Range(0, (int)(hessian.Dimension / size)).Select(i => hessian.Block(i * size, size))])).MoveToOuterDisposeScope();
    }

    private static Tensor Inverses(Tensor symmetric)
    {
        using var scope = NewDisposeScope();
        Tensor blocks = symmetric.to(float64);
        Tensor diagonal = blocks.diagonal(dim1: 1, dim2: 2);
        Tensor ridge = diagonal.Times(HessianRidge).Plus(diagonal.mean().Times(1e-12)).Plus(1e-30);
        return SmallSystems.Inverse(blocks.Plus(diag_embed(ridge))).MoveToOuterDisposeScope();
    }
}
