namespace Armor.Core.Pruning.SparseCores.Patterns;

/// <summary>
/// The closed solution of arXiv 2510.05528, Alg. 1, for any pattern: for every mask m of a group the inverse of the Cholesky factor, Q_mm = L·Lᵀ, so
/// that the gain f_mᵀ·Q_mm⁻¹·f_m is |L⁻¹·f_m|² and the values are L⁻ᵀ·(L⁻¹·f_m). In float32 a sum of squares keeps gains apart that the quadratic
/// form with Q_mm⁻¹ drowns in cancellation. Stored as [vector][pair][lane] (see <see cref="MaskTable"/>), pairs row by row of the lower triangle.
/// </summary>
internal static unsafe class GroupInverses
{
    // A pivot that leaves less than this of its diagonal entry makes a system count as singular.
    private const double SingularPivot = 1e-6;
    private const double SingularDamping = 1e-4;

    /// <summary>Inverts the systems of one group.</summary>
    /// <param name="table">The pattern's masks.</param>
    /// <param name="q">The group's first diagonal entry in Q, row-major.</param>
    /// <param name="stride">Floats from row to row of Q.</param>
    /// <param name="coefficients">Room for <see cref="MaskTable.CoefficientsPerGroup"/> floats.</param>
    public static void Prepare(MaskTable table, float* q, long stride, float* coefficients)
    {
        int kept = table.Pattern.Kept;
        double* system = stackalloc double[kept * kept];
        double* inverse = stackalloc double[kept * kept];
        new Span<float>(coefficients, table.CoefficientsPerGroup).Clear();
        for (int mask = 0; mask < table.Count; mask++)
        {
            ReadOnlySpan<byte> columns = table.Kept(mask);
            double trace = 0;
            for (int i = 0; i < kept; i++)
            {
                for (int j = 0; j < kept; j++)
                {
                    system[(i * kept) + j] = q[(columns[i] * stride) + columns[j]];
                }

                trace += Math.Abs(system[(i * kept) + i]);
            }

            double damping = 0;
            while (!InvertFactor(system, kept, damping, inverse) && double.IsFinite(damping))
            {
                damping = Math.Max(10 * damping, (SingularDamping * trace / kept) + 1e-30);
            }

            float* output = coefficients + ((long)(mask / MaskTable.Lanes) * table.Pairs * MaskTable.Lanes) + (mask % MaskTable.Lanes);
            for (int i = 0; i < kept; i++)
            {
                for (int j = 0; j <= i; j++, output += MaskTable.Lanes)
                {
                    *output = (float)inverse[(i * kept) + j];
                }
            }
        }
    }

    // L⁻¹ of system + damping·I = L·Lᵀ, in the lower triangle; false, and zeros, where it is not clearly positive definite.
    private static bool InvertFactor(double* system, int n, double damping, double* inverse)
    {
        double* factor = stackalloc double[n * n];
        new Span<double>(inverse, n * n).Clear();
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j <= i; j++)
            {
                double sum = system[(i * n) + j] + (i == j ? damping : 0);
                double whole = sum;
                for (int k = 0; k < j; k++)
                {
                    sum -= factor[(i * n) + k] * factor[(j * n) + k];
                }

                if (j < i)
                {
                    factor[(i * n) + j] = sum / factor[(j * n) + j];
                }
                else if (sum > SingularPivot * whole && sum > 0)
                {
                    factor[(i * n) + i] = Math.Sqrt(sum);
                }
                else
                {
                    new Span<double>(inverse, n * n).Clear();
                    return false;
                }
            }

            // Row i of the inverse follows from the rows before it.
            inverse[(i * n) + i] = 1 / factor[(i * n) + i];
            for (int j = 0; j < i; j++)
            {
                double sum = 0;
                for (int k = j; k < i; k++)
                {
                    sum -= factor[(i * n) + k] * inverse[(k * n) + j];
                }

                inverse[(i * n) + j] = sum * inverse[(i * n) + i];
            }
        }

        return true;
    }
}
