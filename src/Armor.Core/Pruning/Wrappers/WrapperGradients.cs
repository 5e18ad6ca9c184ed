using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>The gradients of L = tr(E·H·Eᵀ), E = W − A·S·B, in closed form; those of identity wrappers are <see langword="null"/>.</summary>
/// <param name="Output">∂L/∂A by blocks: −2·E·H·(S·B)ᵀ.</param>
/// <param name="Input">∂L/∂B by blocks: −2·(A·S)ᵀ·E·H.</param>
/// <param name="Core">∂L/∂S on the kept values: −2·Aᵀ·E·H·Bᵀ, zero elsewhere.</param>
internal readonly record struct WrapperGradients(Tensor? Output, Tensor? Input, Tensor Core)
{
    /// <summary>All gradients at one point, in the caller's dispose scope.</summary>
    public static WrapperGradients Of(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        Tensor core = factorization.Core;
        Tensor v = factorization.MultiplyInput(core);
        Tensor error = context.Target - factorization.MultiplyOutput(v);
        Tensor product = context.Loss.MultiplyHessian(error, 0, factorization.Columns).Times(-2);
        Tensor? output = null;
        Tensor? input = null;
        if (factorization.OutputBlocks is not null)
        {
            long size = factorization.OutputBlockSize;
            output = bmm(BlockDiagonalProduct.RowBlocks(product, size), BlockDiagonalProduct.RowBlocks(v, size).transpose(1, 2));
        }

        if (factorization.InputBlocks is not null)
        {
            long size = factorization.InputBlockSize;
            Tensor u = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutput(core), size);
            input = bmm(u.transpose(1, 2), BlockDiagonalProduct.ColumnBlocks(product, size));
        }

        Tensor projected = CoreSystems.Project(factorization, product, 0, factorization.Columns) * core.NonZero();
        return new(output?.MoveToOuterDisposeScope(), input?.MoveToOuterDisposeScope(), projected.MoveToOuterDisposeScope());
    }
}
