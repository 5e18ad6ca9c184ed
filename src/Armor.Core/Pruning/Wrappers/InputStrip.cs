using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>The exact step of B within one strip of columns, under a loss that couples them.</summary>
internal sealed class InputStrip : IDisposable
{
    private IProxyLoss? inverseOf;
    private Tensor? hessianInverses;

    /// <summary>B_j += (U_jᵀ·G·U_j)⁻¹ [U_jᵀ·G·(E·H)_j] H_jj⁻¹, one block column of the strip after another.</summary>
    /// <param name="factorization">A, S and B.</param>
    /// <param name="core">S of the strip [d_out, count].</param>
    /// <param name="loss">The loss.</param>
    /// <param name="residual">(E·H) of the strip [d_out, count].</param>
    /// <param name="hessian">H's block of the strip [count, count].</param>
    /// <param name="first">The strip's first column.</param>
    /// <param name="outputs">G; <see langword="null"/> for the identity.</param>
    /// <returns>The change of B's blocks, that of Ŵ's strip [d_out, count], and what they add to the loss.</returns>
    public (Tensor Blocks, Tensor Product, double Loss) Solve(
        ArmorFactorization factorization, Tensor core, IProxyLoss loss, Tensor residual, Tensor hessian, long first,
        OutputHessian? outputs = null)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        long count = hessian.shape[0] / size;
        Tensor u = factorization.MultiplyOutput(core.contiguous());
        Tensor blocks = BlockDiagonalProduct.ColumnBlocks(u, size);
        Tensor weighted = outputs is null ? u : outputs.Multiply(u);
        Tensor transposed = BlockDiagonalProduct.ColumnBlocks(weighted, size).transpose(1, 2);
        Tensor right = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(residual, size)).to(float64);
        Tensor own = HessianInverses(loss, factorization.Columns, size).narrow(0, first / size, count);
        Tensor gram = weighted.t().matmul(u).to(float64);
        (Tensor change, double added) = BlockGaussSeidel.Solve(gram, right, hessian.to(float64), own);
        Tensor product = BlockDiagonalProduct.FromColumnBlocks(bmm(blocks, change));
        return (change.MoveToOuterDisposeScope(), product.MoveToOuterDisposeScope(), added);
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessianInverses?.Dispose();

    private Tensor HessianInverses(IProxyLoss loss, long columns, long size)
    {
        if (!ReferenceEquals(inverseOf, loss))
        {
            hessianInverses?.Dispose();
            hessianInverses = WrapperSystems.HessianInverses(loss, columns, size).contiguous().DetachFromDisposeScope();
            inverseOf = loss;
        }

        return hessianInverses!;
    }
}
