using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// Alternating exact minimisation: A and then B are set to the minimiser of the loss with the rest held still, each block a small least-squares
/// problem. Where the loss couples blocks, they are solved one after another (Gauss–Seidel). Never raises the loss.
/// </summary>
public sealed class LeastSquaresWrappers : IWrapperOptimizer, IDisposable
{
    private readonly TwoSidedLeastSquares twoSided = new();
    private IProxyLoss? inverseOf;
    private Tensor? hessianInverses;

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        if (context.Loss.OutputHessian is { } outputs)
        {
            twoSided.Step(factorization, context, outputs);
            return;
        }

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
    public void Dispose()
    {
        twoSided.Dispose();
        hessianInverses?.Dispose();
    }

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

    // B_j += (U_jᵀU_j)⁻¹ [U_jᵀ(E·H)_j] H_jj⁻¹, one block column after another, strip by strip.
    private void SolveInputCoupled(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor product = factorization.MultiplyOutput(factorization.Core);
        Tensor u = BlockDiagonalProduct.ColumnBlocks(product, size);
        Tensor gramInverses = ProximalSolve.Inverse(bmm(u.transpose(1, 2), u));
        Tensor inverses = HessianInverses(context.Loss, factorization.Columns, size);
        Tensor error = context.Target - factorization.Product();
        Tensor blocks = factorization.InputBlocks!.clone();

        foreach ((long first, long width) in ColumnStrips.Of(factorization.Columns, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            long block = first / size;
            long count = width / size;
            Tensor strip = product.narrow(1, first, width);
            Tensor own = u.narrow(0, block, count);
            Tensor residual = BlockDiagonalProduct.ColumnBlocks(context.Loss.MultiplyHessian(error, first, width), size);
            double[] changes = BlockGaussSeidel.Solve(
                (int)count,
                (int)size,
                Values(strip.t().matmul(strip)),
                Values(bmm(own.transpose(1, 2), residual)),
                Values(context.Loss.HessianBlock(first, width)),
                Values(gramInverses.narrow(0, block, count)),
                Values(inverses.narrow(0, block, count)));
            Tensor change = tensor(changes).view(count, size, size).to(float32);
            blocks.narrow(0, block, count).AddInPlace(change);
            error.narrow(1, first, width).sub_(BlockDiagonalProduct.FromColumnBlocks(bmm(own, change)));
        }

        factorization.InputBlocks = blocks;
    }

    private static double[] Values(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.to(float64).contiguous().data<double>().ToArray();
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
