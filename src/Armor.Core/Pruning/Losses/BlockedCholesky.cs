using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// Cholesky of a large matrix in its own memory, block column by block column (Golub and Van Loan, Matrix Computations, Sec. 4.2.9). libtorch's own
/// makes copies, and at d_in = 11008 each takes a gigabyte.
/// </summary>
internal static class BlockedCholesky
{
    private const long BlockColumns = 512;

    /// <summary>Overwrites the lower half of A by L with A = L·Lᵀ; the upper half is left as it was.</summary>
    /// <param name="matrix">Symmetric, float64.</param>
    /// <returns>False where A is not positive definite; it is then partly overwritten.</returns>
    public static bool FactorInPlace(Tensor matrix)
    {
        long size = matrix.shape[0];
        for (long start = 0; start < size; start += BlockColumns)
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(BlockColumns, size - start);
            long rest = size - start - count;
            Tensor square = matrix.narrow(0, start, count).narrow(1, start, count);
            Tensor factor;
            try
            {
                factor = linalg.cholesky(square);
            }
            catch (ExternalException)
            {
                return false;
            }

            square.copy_(factor);
            if (rest == 0)
            {
                return factor.isfinite().all().IsTrue();
            }

            // P = A₂₁·L₁₁⁻ᵀ, then A₂₂ −= P·Pᵀ, of which the lower half is enough.
            Tensor panel = matrix.narrow(0, start + count, rest).narrow(1, start, count);
            Tensor solved = linalg.solve_triangular(factor, panel.t(), upper: false).t().contiguous();
            panel.copy_(solved);
            for (long column = 0; column < rest; column += BlockColumns)
            {
                using var columnScope = NewDisposeScope();
                long width = Math.Min(BlockColumns, rest - column);
                Tensor below = matrix.narrow(0, start + count + column, rest - column).narrow(1, start + count + column, width);
                below.sub_(solved.narrow(0, column, rest - column).matmul(solved.narrow(0, column, width).t()));
            }
        }

        return true;
    }

    /// <summary>A⁻¹·B.</summary>
    /// <param name="factor">What <see cref="FactorInPlace"/> has made; only the lower half is read.</param>
    /// <param name="right">B [n, m], float64.</param>
    /// <returns>[n, m], in the caller's dispose scope.</returns>
    public static Tensor Solve(Tensor factor, Tensor right)
    {
        using var scope = NewDisposeScope();
        Tensor half = linalg.solve_triangular(factor, right, upper: false);
        return linalg.solve_triangular(factor.t(), half, upper: true).MoveToOuterDisposeScope();
    }
}
