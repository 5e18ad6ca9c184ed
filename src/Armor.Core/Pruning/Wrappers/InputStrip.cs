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

    /// <summary>B_j += (U_jᵀU_j)⁻¹ [U_jᵀ(E·H)_j] H_jj⁻¹, one block column of the strip after another.</summary>
    /// <param name="factorization">A, S and B.</param>
    /// <param name="core">S of the strip [d_out, count].</param>
    /// <param name="loss">The loss.</param>
    /// <param name="residual">(E·H) of the strip [d_out, count].</param>
    /// <param name="hessian">H's block of the strip [count, count].</param>
    /// <param name="first">The strip's first column.</param>
    /// <returns>The change of B's blocks, that of Ŵ's strip [d_out, count], and what they add to the loss.</returns>
    public (Tensor Blocks, Tensor Product, double Loss) Solve(
        ArmorFactorization factorization, Tensor core, IProxyLoss loss, Tensor residual, Tensor hessian, long first)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        long count = hessian.shape[0] / size;
        Tensor u = factorization.MultiplyOutput(core.contiguous());
        Tensor blocks = BlockDiagonalProduct.ColumnBlocks(u, size);
        Tensor transposed = blocks.transpose(1, 2);
        Tensor right = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(residual, size)).to(float64);
        Tensor own = HessianInverses(loss, factorization.Columns, size).narrow(0, first / size, count);
        Tensor gram = u.t().matmul(u).to(float64);
        Tensor inverses = ProximalSolve.Inverse(bmm(transposed, blocks));
        double[] changes = new double[count * size * size];
        double added = BlockGaussSeidel.Solve(
            (int)count, (int)size, Values(gram), Values(right), Values(hessian.to(float64)), Values(inverses), Values(own), changes);
        Tensor change = tensor(changes).view(count, size, size).to(float32).to(core.device);
        Tensor product = BlockDiagonalProduct.FromColumnBlocks(bmm(blocks, change));
        return (change.MoveToOuterDisposeScope(), product.MoveToOuterDisposeScope(), added);
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessianInverses?.Dispose();

    // The memory of a float64 tensor, brought to the CPU if need be; valid within the caller's dispose scope.
    private static unsafe Span<double> Values(Tensor tensor) =>
        new(CoreSystems.Pointer(tensor.cpu().contiguous()), checked((int)tensor.numel()));

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
