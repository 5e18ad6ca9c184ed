using Armor.Runtime.Factorization;
using MathNet.Numerics.LinearAlgebra;

namespace Armor.Core.Tests.Pruning.SparseCores;

/// <summary>The exact sweep in float64 from its definition: every group in turn, all its masks tried on the true loss.</summary>
internal static class SweepReference
{
    public static double[,] Sweep(double[,] target, double[,] h, double[,] a, double[,] core, double[,] b, SparsityPattern pattern, int strip)
    {
        int rows = core.GetLength(0);
        int columns = core.GetLength(1);
        double[,] s = (double[,])core.Clone();
        double[,] p = Matrices.Product(Matrices.Transposed(a), a);
        double[,] q = Matrices.Product(Matrices.Product(b, h), Matrices.Transposed(b));
        int[][] masks = [.. Masks(0, pattern.Kept, pattern.Group)];
        double[,] hb = Matrices.Product(h, Matrices.Transposed(b));
        double[,] error = Matrices.Minus(target, Matrices.Product(Matrices.Product(a, s), b));
        for (int first = 0; first < columns; first += strip)
        {
            for (int row = 0; row < rows; row++)
            {
                for (int c = first; c < Math.Min(columns, first + strip); c += pattern.Group)
                {
                    double[] old = [.. Enumerable.Range(c, pattern.Group).Select(x => s[row, x])];
                    Solve(Gradient(error, hb, a, row, c, pattern.Group), s, p, q, masks, row, c);
                    for (int x = 0; x < pattern.Group; x++)
                    {
                        Move(error, a, b, row, c + x, s[row, c + x] - old[x]);
                    }
                }
            }
        }

        return s;
    }

    // −½ of the gradient on a group: entries of Aᵀ·E·H·Bᵀ.
    private static double[] Gradient(double[,] error, double[,] hb, double[,] a, int row, int c, int group)
    {
        double[] gradient = new double[group];
        for (int j = 0; j < error.GetLength(1); j++)
        {
            double seen = 0;
            for (int i = 0; i < error.GetLength(0); i++)
            {
                seen += a[i, row] * error[i, j];
            }

            for (int x = 0; x < group; x++)
            {
                gradient[x] += seen * hb[j, c + x];
            }
        }

        return gradient;
    }

    // The error after an entry of S has changed.
    private static void Move(double[,] error, double[,] a, double[,] b, int row, int column, double change)
    {
        for (int i = 0; change != 0 && i < error.GetLength(0); i++)
        {
            for (int j = 0; j < error.GetLength(1); j++)
            {
                error[i, j] -= a[i, row] * change * b[column, j];
            }
        }
    }

    private static void Solve(double[] gradient, double[,] s, double[,] p, double[,] q, int[][] masks, int row, int c)
    {
        int group = gradient.Length;
        double[] f = new double[group];
        for (int x = 0; x < group; x++)
        {
            f[x] = gradient[x];
            for (int y = 0; y < group; y++)
            {
                f[x] += p[row, row] * q[c + x, c + y] * s[row, c + y];
            }
        }

        double best = double.NegativeInfinity;
        int[] chosen = [];
        double[] kept = [];
        foreach (int[] mask in masks)
        {
            Matrix<double> system = Matrix<double>.Build.Dense(mask.Length, mask.Length, (i, j) => p[row, row] * q[c + mask[i], c + mask[j]]);
            Vector<double> right = Vector<double>.Build.Dense(mask.Length, i => f[mask[i]]);
            Vector<double> values = system.Solve(right);
            double gain = values.DotProduct(right);
            if (gain > best)
            {
                best = gain;
                chosen = mask;
                kept = [.. values];
            }
        }

        for (int x = 0; x < group; x++)
        {
            s[row, c + x] = 0;
        }

        for (int i = 0; i < chosen.Length; i++)
        {
            s[row, c + chosen[i]] = kept[i];
        }
    }

    private static IEnumerable<int[]> Masks(int from, int kept, int group) => kept == 0
        ? [[]]
        : Enumerable.Range(from, group - from - kept + 1).SelectMany(first => Masks(first + 1, kept - 1, group).Select(rest => (int[])[first, .. rest]));
}
