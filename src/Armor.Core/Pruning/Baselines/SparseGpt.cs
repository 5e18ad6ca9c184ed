using Armor.Core.Pruning.Losses;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Baselines;

/// <summary>
/// SparseGPT (Frantar and Alistarh 2023) for N:M patterns: columns from left to right, each rounding's error passed on to the columns after it through the
/// Cholesky factor of the inverse Hessian; the mask of each group is chosen at their first column.
/// </summary>
internal static class SparseGpt
{
    private const int BlockColumns = 128;

    /// <summary>Prunes one weight.</summary>
    /// <param name="weight">W [d_out, d_in], float32.</param>
    /// <param name="secondMoment">H [d_in, d_in].</param>
    /// <param name="damping">A share of the mean of H's diagonal; raised tenfold until H can be factorised.</param>
    /// <param name="pattern">N:M.</param>
    /// <param name="cancellationToken">Stops between blocks of columns.</param>
    /// <returns>The sparse weight [d_out, d_in], float32, and the damping that was needed.</returns>
    public static (Tensor Weight, double Damping) Prune(Tensor weight, Tensor secondMoment, double damping, SparsityPattern pattern, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        Tensor w = weight.to(float64, copy: true);
        Tensor dead = secondMoment.diagonal().IsZero();
        w.ClearInPlace(dead);
        (Tensor factor, double used) = InverseFactor(secondMoment, dead, damping);
        long columns = w.shape[1];
        long blockColumns = BlockColumns / pattern.Group * pattern.Group;
        for (long first = 0; first < columns; first += blockColumns)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var blockScope = NewDisposeScope();
            long count = Math.Min(blockColumns, columns - first);
            Tensor block = w.narrow(1, first, count);
            Tensor own = factor.narrow(0, first, count).narrow(1, first, count);
            Tensor errors = PruneBlock(block, own, pattern);
            if (first + count < columns)
            {
                long rest = columns - first - count;
                Tensor onwards = factor.narrow(0, first, count).narrow(1, first + count, rest);
                w.narrow(1, first + count, rest).sub_(errors.matmul(onwards));
            }
        }

        return (w.to(float32).MoveToOuterDisposeScope(), used);
    }

    // Prunes a block of columns in place and returns the scaled errors that later blocks have to absorb.
    private static Tensor PruneBlock(Tensor block, Tensor factor, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        long count = block.shape[1];
        Tensor errors = zeros_like(block);
        Tensor diagonal = factor.diagonal();
        Tensor? mask = null;
        for (long column = 0; column < count; column++)
        {
            using var columnScope = NewDisposeScope();
            if (column % pattern.Group == 0)
            {
                mask?.Dispose();
                Tensor importance = block.narrow(1, column, pattern.Group).Squared() / diagonal.narrow(0, column, pattern.Group).Squared();
                mask = LargestMask.Largest(importance, pattern).DetachFromDisposeScope();
            }

            Tensor value = block.narrow(1, column, 1);
            Tensor pruned = value * mask!.narrow(1, column % pattern.Group, 1);
            Tensor error = (value - pruned) / diagonal[column];
            errors.narrow(1, column, 1).copy_(error);
            Tensor row = factor.narrow(0, column, 1).narrow(1, column, count - column);
            block.narrow(1, column, count - column).sub_(error.matmul(row));
            value.copy_(pruned);
        }

        mask?.Dispose();
        return errors.MoveToOuterDisposeScope();
    }

    private static (Tensor Factor, double Damping) InverseFactor(Tensor secondMoment, Tensor dead, double damping)
    {
        for (double used = damping; ; used = Math.Max(10 * used, HessianConditioning.LeastRaised))
        {
            using var scope = NewDisposeScope();
            Tensor h = HessianConditioning.Damped(secondMoment, used);
            h = h.Plus(dead.to(float64).diag());
            try
            {
                Tensor inverse = linalg.inv(h);
                Tensor factor = linalg.cholesky(inverse.Plus(inverse.t()).Times(0.5)).t();
                if (factor.isfinite().all().IsTrue())
                {
                    return (factor.contiguous().MoveToOuterDisposeScope(), used);
                }
            }
            catch (System.Runtime.InteropServices.ExternalException) when (used < 1e6)
            {
                // Not positive definite: more damping.
            }
        }
    }
}
