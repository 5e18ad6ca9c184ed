using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// Alternating exact minimisation: A and then B are set to the minimiser of the loss with the rest held still, each block a small least-squares
/// problem. Where the loss couples block columns, B is solved one block column after another (Gauss–Seidel). Never raises the loss.
/// </summary>
public sealed class LeastSquaresWrappers : IWrapperOptimizer, IDisposable
{
    private IProxyLoss? inverseOf;
    private Tensor? hessianInverses;

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        if (factorization.OutputBlocks is not null)
        {
            SolveOutput(factorization, context);
        }

        context.CancellationToken.ThrowIfCancellationRequested();
        if (factorization.InputBlocks is not null)
        {
            if (context.Loss.CouplesBlocks(factorization.InputBlockSize))
            {
                SolveInputCoupled(factorization, context);
            }
            else
            {
                SolveInput(factorization, context);
            }
        }
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessianInverses?.Dispose();

    // A_i = [W H Vᵀ]_i [V H Vᵀ]_i⁻¹ with V = S·B.
    private static void SolveOutput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        (Tensor gram, Tensor right) = WrapperSystems.Output(factorization, context);
        factorization.OutputBlocks = ProximalSolve.Right(gram, right, factorization.OutputBlocks!);
    }

    // B_j = (U_jᵀU_j)⁻¹ U_jᵀW_j with U = A·S: the Hessian's block cancels.
    private static void SolveInput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor u = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutput(factorization.Core), size);
        Tensor transposed = u.transpose(1, 2);
        Tensor right = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(context.Target, size));
        factorization.InputBlocks = ProximalSolve.Left(bmm(transposed, u), right, factorization.InputBlocks!);
    }

    // B_j += (U_jᵀU_j)⁻¹ [U_jᵀ(E·H)_j] H_jj⁻¹, one block column after another, the products E·H kept up to date within a strip of columns.
    private void SolveInputCoupled(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor u = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutput(factorization.Core), size);
        Tensor gramInverses = ProximalSolve.Inverse(bmm(u.transpose(1, 2), u));
        Tensor inverses = HessianInverses(context.Loss, factorization.Columns, size);
        Tensor error = context.Target - factorization.Product();
        Tensor blocks = factorization.InputBlocks!.clone();

        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor product = context.Loss.MultiplyHessian(error, first, count);
            Tensor hessian = context.Loss.HessianBlock(first, count);
            for (long column = 0; column < count; column += size)
            {
                using var blockScope = NewDisposeScope();
                long block = (first + column) / size;
                Tensor part = u[block];
                Tensor change = gramInverses[block].matmul(part.t().matmul(product.narrow(1, column, size)).to(float64)).matmul(inverses[block]).to(float32);
                if (!change.isfinite().all().ToBoolean())
                {
                    continue;
                }

                blocks[block].add_(change);
                Tensor moved = part.matmul(change);
                error.narrow(1, first + column, size).sub_(moved);
                if (column + size < count)
                {
                    product.addmm_(moved, hessian.narrow(0, column, size), beta: 1, alpha: -1);
                }
            }
        }

        factorization.InputBlocks = blocks;
    }

    private Tensor HessianInverses(IProxyLoss loss, long columns, long size)
    {
        if (!ReferenceEquals(inverseOf, loss))
        {
            hessianInverses?.Dispose();
            hessianInverses = WrapperSystems.HessianInverses(loss, columns, size).DetachFromDisposeScope();
            inverseOf = loss;
        }

        return hessianInverses!;
    }
}
