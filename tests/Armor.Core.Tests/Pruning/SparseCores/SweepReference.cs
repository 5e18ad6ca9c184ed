namespace Armor.Core.Tests.Pruning.SparseCores;

/// <summary>The exact sweep in float64 from its definition: every group in turn, its six masks tried on the true loss.</summary>
internal static class SweepReference
{
    private static readonly (int A, int B)[] Masks = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];

    public static double[,] Sweep(double[,] target, double[,] h, double[,] a, double[,] core, double[,] b, int outputBlock, int strip)
    {
        int rows = core.GetLength(0);
        int columns = core.GetLength(1);
        double[,] s = (double[,])core.Clone();
        double[,] p = Matrices.Product(Matrices.Transposed(a), a);
        double[,] q = Matrices.Product(Matrices.Product(b, h), Matrices.Transposed(b));
        for (int first = 0; first < columns; first += strip)
        {
            for (int row = 0; row < rows; row++)
            {
                for (int c = first; c < Math.Min(columns, first + strip); c += 4)
                {
                    Solve(target, h, a, s, b, p, q, row, c);
                }
            }
        }

        return s;
    }

    private static void Solve(double[,] target, double[,] h, double[,] a, double[,] s, double[,] b, double[,] p, double[,] q, int row, int c)
    {
        // −½ of the gradient, plus what the group itself explains.
        double[,] error = Matrices.Minus(target, Matrices.Product(Matrices.Product(a, s), b));
        double[,] gradient = Matrices.Product(Matrices.Product(Matrices.Transposed(a), Matrices.Product(error, h)), Matrices.Transposed(b));
        double[] f = new double[4];
        for (int x = 0; x < 4; x++)
        {
            f[x] = gradient[row, c + x];
            for (int y = 0; y < 4; y++)
            {
                f[x] += p[row, row] * q[c + x, c + y] * s[row, c + y];
            }
        }

        double best = double.NegativeInfinity;
        (int Mask, double A, double B) chosen = default;
        for (int mask = 0; mask < Masks.Length; mask++)
        {
            (int i, int j) = Masks[mask];
            double qa = p[row, row] * q[c + i, c + i];
            double qb = p[row, row] * q[c + j, c + j];
            double qab = p[row, row] * q[c + i, c + j];
            double determinant = (qa * qb) - (qab * qab);
            double va = ((qb * f[i]) - (qab * f[j])) / determinant;
            double vb = ((qa * f[j]) - (qab * f[i])) / determinant;
            double gain = (va * f[i]) + (vb * f[j]);
            if (gain > best)
            {
                best = gain;
                chosen = (mask, va, vb);
            }
        }

        for (int x = 0; x < 4; x++)
        {
            s[row, c + x] = 0;
        }

        s[row, c + Masks[chosen.Mask].A] = chosen.A;
        s[row, c + Masks[chosen.Mask].B] = chosen.B;
    }
}
