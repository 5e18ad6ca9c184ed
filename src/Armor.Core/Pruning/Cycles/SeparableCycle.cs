using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>
/// A cycle under a loss without coupling: an exact sweep, then A, then B by least squares. The loss needs no product of its own: with U = A·S, the
/// systems of the B-step give L = tr(W·H·Wᵀ) − Σ_j ⟨B_j·H_jj, 2·U_jᵀW_j − U_jᵀU_j·B_j⟩.
/// </summary>
internal sealed class SeparableCycle : IAlternatingCycle, IDisposable
{
    private const double Float32 = 1e-7;

    // The share of the loss that rounding may be.
    private const double Trusted = 1e-3;

    private readonly ExactSweep sweep;
    private readonly HessianBlocks hessians = new();
    private readonly double total;

    /// <param name="total">tr(W·H·Wᵀ), the loss of an all-zero weight.</param>
    /// <param name="batched">Whether to sweep by tensor operations on the CPU too, for tests.</param>
    public SeparableCycle(double total, bool batched = false)
    {
        this.total = total;
        sweep = new ExactSweep { Batched = batched };
    }

    /// <inheritdoc/>
    public double Step(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        sweep.Step(factorization, context);
        if (factorization.OutputBlocks is not null)
        {
            LeastSquaresWrappers.SolveOutput(factorization, context);
        }

        context.CancellationToken.ThrowIfCancellationRequested();
        if (factorization.InputBlocks is null)
        {
            return context.Loss.Value(context.Target - factorization.Product());
        }

        (Tensor gram, Tensor right) = LeastSquaresWrappers.SolveInput(factorization, context);
        Tensor b = factorization.InputBlocks.to(float64);
        Tensor h = hessians.Of(context.Loss, factorization.Columns, factorization.InputBlockSize).to(float64);
        Tensor weighted = bmm(b, h);
        gram = gram.to(float64);
        double loss = total - (weighted * (right.to(float64).Times(2) - bmm(gram, b))).sum().ToNumber();

        // Where factors are large and cancel, so do these sums, and their float32 systems with them: then only the product itself tells the loss.
        double summed = (weighted.abs() * bmm(gram.abs(), b.abs())).sum().ToNumber();
        return Float32 * summed <= Trusted * loss ? loss : context.Loss.Value(context.Target - factorization.Product());
    }

    /// <summary>Frees what was kept between cycles.</summary>
    public void Dispose()
    {
        sweep.Dispose();
        hessians.Dispose();
    }
}
