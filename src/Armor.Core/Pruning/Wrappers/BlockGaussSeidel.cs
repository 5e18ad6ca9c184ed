namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// One pass of Gauss–Seidel over the blocks of B within a strip, on small matrices only: with U = A·S and F = E·H of the strip,
/// ΔB_j = (U_jᵀU_j)⁻¹ [U_jᵀF_j − Σ_{k&lt;j} U_jᵀU_k·ΔB_k·H_kj] H_jj⁻¹. The products over d_out are made once for the whole strip.
/// </summary>
internal static class BlockGaussSeidel
{
    /// <summary>The changes of all blocks, [count, size, size]; a block whose change is not finite stays as it is (zero).</summary>
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
        int width = count * size;
        int area = size * size;
        double[] changes = new double[count * area];
        double[] sum = new double[area];
        double[] product = new double[area];
        for (int j = 0; j < count; j++)
        {
            right.AsSpan(j * area, area).CopyTo(sum);
            for (int k = 0; k < j; k++)
            {
                // sum −= (U_jᵀU_k)·ΔB_k·H_kj
                Array.Clear(product);
                AddProduct(product, gram.AsSpan((j * size * width) + (k * size)), width, changes.AsSpan(k * area), size, 1, size);
                AddProduct(sum, product, size, hessian.AsSpan((k * size * width) + (j * size)), width, -1, size);
            }

            Array.Clear(product);
            AddProduct(product, gramInverses.AsSpan(j * area), size, sum, size, 1, size);
            Span<double> change = changes.AsSpan(j * area, area);
            AddProduct(change, product, size, hessianInverses.AsSpan(j * area), size, 1, size);
            foreach (double value in change)
            {
                if (!double.IsFinite(value))
                {
                    change.Clear();
                    break;
                }
            }
        }

        return changes;
    }

    // c += scale·a·b for square matrices; rows of a and b lie the given strides apart.
    private static void AddProduct(Span<double> c, ReadOnlySpan<double> a, int strideA, ReadOnlySpan<double> b, int strideB, double scale, int size)
    {
        for (int i = 0; i < size; i++)
        {
            Span<double> row = c.Slice(i * size, size);
            for (int k = 0; k < size; k++)
            {
                double factor = scale * a[(i * strideA) + k];
                ReadOnlySpan<double> line = b.Slice(k * strideB, size);
                for (int x = 0; x < row.Length; x++)
                {
                    row[x] += factor * line[x];
                }
            }
        }
    }
}
