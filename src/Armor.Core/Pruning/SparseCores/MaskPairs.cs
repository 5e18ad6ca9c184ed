namespace Armor.Core.Pruning.SparseCores;

/// <summary>The six ways to keep two of four, and the closed solution of each (arXiv 2510.05528, Alg. 1, core update).</summary>
internal static class MaskPairs
{
    /// <summary>The number of masks.</summary>
    public const int Count = 6;

    /// <summary>Floats per group of four: three coefficients a mask.</summary>
    public const int CoefficientsPerGroup = 3 * Count;

    // Below this share of the product of its diagonal a 2×2 system counts as singular.
    private const double SingularDeterminant = 1e-6;
    private const double SingularDamping = 1e-4;

    /// <summary>The first kept column of each mask.</summary>
    public static ReadOnlySpan<int> First => [0, 0, 0, 1, 1, 2];

    /// <summary>The second kept column of each mask.</summary>
    public static ReadOnlySpan<int> Second => [1, 2, 3, 2, 3, 3];

    /// <summary>
    /// The inverse Cholesky factors L⁻¹ of the six 2×2 systems Q_mm = L·Lᵀ of every group of four, as [group][aa | ba | bb][mask]: with
    /// y = L⁻¹·f_m the gain f_mᵀ·Q_mm⁻¹·f_m is |y|² and the kept values are L⁻ᵀ·y. In float32 a sum of squares keeps gains apart, and values in place,
    /// that the quadratic form with Q_mm⁻¹ drowns in cancellation (its errors grow with the square of the condition, these with its first power).
    /// </summary>
    /// <param name="q">Q, row-major with the given stride.</param>
    /// <param name="stride">Floats from row to row.</param>
    /// <param name="width">Columns of Q, a multiple of four.</param>
    /// <param name="coefficients">Room for 18 floats a group.</param>
    public static unsafe void Prepare(float* q, long stride, int width, float* coefficients)
    {
        for (int group = 0; group < width / 4; group++)
        {
            float* output = coefficients + (group * CoefficientsPerGroup);
            for (int mask = 0; mask < Count; mask++)
            {
                long i = (4 * group) + First[mask];
                long j = (4 * group) + Second[mask];
                double a = q[(i * stride) + i];
                double c = q[(j * stride) + j];
                double d = q[(i * stride) + j];
                double determinant = (a * c) - (d * d);
                if (!(determinant > SingularDeterminant * a * c))
                {
                    double damping = (SingularDamping * (a + c)) + 1e-30;
                    a += damping;
                    c += damping;
                    determinant = (a * c) - (d * d);
                }

                double inverse = Math.Sqrt(a / determinant);
                output[mask] = (float)(1 / Math.Sqrt(a));
                output[Count + mask] = (float)(-d / a * inverse);
                output[(2 * Count) + mask] = (float)inverse;
            }
        }
    }
}
