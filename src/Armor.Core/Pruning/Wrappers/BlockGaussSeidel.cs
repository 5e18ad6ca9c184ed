using MathNet.Numerics.LinearAlgebra;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// One pass of Gauss–Seidel over the blocks of B within a strip, on small matrices only: with U = A·S and F = E·H of the strip,
/// ΔB_j = (U_jᵀU_j)⁻¹ [U_jᵀF_j − Σ_{k&lt;j} U_jᵀU_k·ΔB_k·H_kj] H_jj⁻¹. The products over d_out are made once for the whole strip.
/// </summary>
internal static class BlockGaussSeidel
{
    /// <summary>The changes of all blocks, [count, size, size]; a block whose change is not finite stays as it is (zero). All arrays row-major.</summary>
    /// <param name="count">Blocks in the strip.</param>
    /// <param name="size">b_B.</param>
    /// <param name="gram">UᵀU [count·size, count·size].</param>
    /// <param name="right">U_jᵀF_j [count, size, size].</param>
    /// <param name="hessian">H of the strip [count·size, count·size].</param>
    /// <param name="gramInverses">(U_jᵀU_j + εI)⁻¹ [count, size, size].</param>
    /// <param name="hessianInverses">H_jj⁻¹ [count, size, size].</param>
    public static double[] Solve(
        int count, int size, double[] gram, double[] right, double[] hessian, double[] gramInverses, double[] hessianInverses)
    {
        // MathNet's matrices are column-major, so everything here is the transpose of the formula above; gram and Hessian are symmetric.
        Matrix<double> products = Matrix<double>.Build.Dense(count * size, count * size, gram);
        Matrix<double> h = Matrix<double>.Build.Dense(count * size, count * size, hessian);
        var changes = new Matrix<double>[count];
        for (int j = 0; j < count; j++)
        {
            Matrix<double> sum = Block(right, j);
            for (int k = 0; k < j; k++)
            {
                sum -= h.SubMatrix(j * size, size, k * size, size) * changes[k] * products.SubMatrix(k * size, size, j * size, size);
            }

            Matrix<double> change = Block(hessianInverses, j) * sum * Block(gramInverses, j);
            changes[j] = change.ForAll(double.IsFinite) ? change : Matrix<double>.Build.Dense(size, size);
        }

        return [.. changes.SelectMany(change => change.AsColumnMajorArray())];

        Matrix<double> Block(double[] blocks, int index) =>
            Matrix<double>.Build.Dense(size, size, blocks[(index * size * size)..((index + 1) * size * size)]);
    }
}
