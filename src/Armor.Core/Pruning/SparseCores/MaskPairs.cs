namespace Armor.Core.Pruning.SparseCores;

/// <summary>The six ways to keep two of four, and the closed solution of each (arXiv 2510.05528, Alg. 1, core update).</summary>
internal static class MaskPairs
{
    /// <summary>The number of masks.</summary>
    public const int Count = 6;

    /// <summary>Floats per group of four: three coefficients a mask.</summary>
    public const int CoefficientsPerGroup = 3 * Count;

    // Below this share of the product of its diagonal a 2×2 system counts as singular.
    private const double SingularDeterminant = 1e-7;
    private const double SingularDamping = 1e-4;

    /// <summary>The first kept column of each mask.</summary>
    public static ReadOnlySpan<int> First => [0, 0, 0, 1, 1, 2];

    /// <summary>The second kept column of each mask.</summary>
    public static ReadOnlySpan<int> Second => [1, 2, 3, 2, 3, 3];

    /// <summary>
    /// The inverses Q_mm⁻¹ of the six 2×2 systems of every group of four, as [group][aa | ab | bb][mask], so that the kept values are
    /// a = aa·f_a + ab·f_b, b = ab·f_a + bb·f_b and the gain is a·f_a + b·f_b.
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
                long first = (4 * group) + First[mask];
                long second = (4 * group) + Second[mask];
                double a = q[(first * stride) + first];
                double c = q[(second * stride) + second];
                double d = q[(first * stride) + second];
                double determinant = (a * c) - (d * d);
                if (!(determinant > SingularDeterminant * a * c))
                {
                    double damping = (SingularDamping * (a + c)) + 1e-30;
                    a += damping;
                    c += damping;
                    determinant = (a * c) - (d * d);
                }

                output[mask] = (float)(c / determinant);
                output[Count + mask] = (float)(-d / determinant);
                output[(2 * Count) + mask] = (float)(a / determinant);
            }
        }
    }
}
