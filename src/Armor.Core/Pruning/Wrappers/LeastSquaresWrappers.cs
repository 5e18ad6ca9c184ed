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
    private readonly InputStrip strip = new();

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
                using var scope = NewDisposeScope();
                SolveInput(factorization, context);
            }
        }
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => strip.Dispose();

    /// <summary>A_i = [W·H·Vᵀ]_i [V·H·Vᵀ]_i⁻¹ with V = S·B.</summary>
    internal static void SolveOutput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        (Tensor gram, Tensor right) = WrapperSystems.Output(factorization, context);
        factorization.OutputBlocks = ProximalSolve.Right(gram, right, factorization.OutputBlocks!);
    }

    /// <summary>B_j = (U_jᵀU_j)⁻¹U_jᵀW_j with U = A·S, where the loss does not couple block columns: the Hessian's block cancels.</summary>
    /// <returns>U_jᵀU_j and U_jᵀW_j, both [d_in/b_B, b_B, b_B].</returns>
    internal static (Tensor Gram, Tensor Right) SolveInput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor u = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutput(factorization.Core), size);
        Tensor transposed = u.transpose(1, 2);
        Tensor gram = bmm(transposed, u);
        Tensor right = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(context.Target, size));
        factorization.InputBlocks = ProximalSolve.Left(gram, right, factorization.InputBlocks!);
        return (gram.MoveToOuterDisposeScope(), right.MoveToOuterDisposeScope());
    }

    // One strip of columns after another; E·H is made anew for each.
    private void SolveInputCoupled(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        long size = factorization.InputBlockSize;
        Tensor error = context.Target - factorization.Product();
        Tensor blocks = factorization.InputBlocks!.clone();
        Tensor inverses = strip.HessianInverses(context.Loss, factorization.Columns, size);
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, size))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor u = factorization.MultiplyOutput(factorization.Core.narrow(1, first, count).contiguous());
            Tensor own = inverses.narrow(0, first / size, count / size);
            (Tensor change, _) = InputStrip.Solve(u, u, context.Loss.MultiplyHessian(error, first, count), context.Loss.HessianBlock(first, count), own);
            blocks.narrow(0, first / size, count / size).AddInPlace(change);
            error.narrow(1, first, count).sub_(BlockDiagonalProduct.Right(u, change));
        }

        factorization.InputBlocks = blocks;
    }
}
