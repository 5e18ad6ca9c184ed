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

    /// <summary>B_j += (S_jᵀ·P·S_j)⁻¹ [S_jᵀ·Aᵀ·G·(E·H)_j] H_jj⁻¹, P = Aᵀ·G·A, one block column of the strip after another.</summary>
    /// <param name="core">S of the strip [d_out, count].</param>
    /// <param name="coupled">P·S of the strip [d_out, count].</param>
    /// <param name="gradient">Aᵀ·G·(E·H) of the strip [d_out, count].</param>
    /// <param name="hessian">H's block of the strip [count, count].</param>
    /// <param name="inverses">The inverses of H's diagonal blocks in the strip, see <see cref="HessianInverses"/>.</param>
    /// <returns>The change of B's blocks, and what it adds to the loss.</returns>
    public static (Tensor Blocks, double Loss) Solve(Tensor core, Tensor coupled, Tensor gradient, Tensor hessian, Tensor inverses)
    {
        using var scope = NewDisposeScope();
        long size = inverses.shape[1];
        Tensor transposed = BlockDiagonalProduct.ColumnBlocks(core, size).transpose(1, 2);
        Tensor right = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(gradient, size)).to(float64);
        Tensor gram = core.t().matmul(coupled).to(float64);
        (Tensor change, double added) = BlockGaussSeidel.Solve(gram, right, hessian.to(float64), inverses);
        return (change.MoveToOuterDisposeScope(), added);
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessianInverses?.Dispose();

    /// <summary>The inverses of all diagonal blocks of H [d_in/b, b, b], float64, made once for a loss. Owned by this cache.</summary>
    public Tensor HessianInverses(IProxyLoss loss, long columns, long size)
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
