using Armor.Runtime.Factorization;

namespace Armor.Core.Tests.Pruning.Baselines;

/// <summary>SparseGPT without blocks: the optimal-brain-surgeon update of all remaining columns after each column, in float64 loops.</summary>
internal static class SparseGptReference
{
    public static double[,] Prune(double[,] weight, double[,] hessian, double damping, SparsityPattern pattern)
    {
        int rows = weight.GetLength(0);
        int columns = weight.GetLength(1);
        double[,] w = (double[,])weight.Clone();
        double mean = Enumerable.Range(0, columns).Average(i => hessian[i, i]);
        double[,] h = (double[,])hessian.Clone();
        for (int i = 0; i < columns; i++)
        {
            h[i, i] += damping * mean;
        }

        double[,] inverse = Inverse(h);
        bool[,] keep = new bool[rows, columns];
        for (int column = 0; column < columns; column++)
        {
            if (column % pattern.Group == 0)
            {
                double[] diagonal = PivotsOfGroup(inverse, column, pattern.Group);
                for (int row = 0; row < rows; row++)
                {
                    foreach (int x in Enumerable.Range(0, pattern.Group).OrderByDescending(x => w[row, column + x] * w[row, column + x] / diagonal[x]).Take(pattern.Kept))
                    {
                        keep[row, column + x] = true;
                    }
                }
            }

            double pivot = inverse[column, column];
            for (int row = 0; row < rows; row++)
            {
                if (!keep[row, column])
                {
                    double error = w[row, column] / pivot;
                    for (int j = column; j < columns; j++)
                    {
                        w[row, j] -= error * inverse[column, j];
                    }

                    w[row, column] = 0;
                }
            }

            Eliminate(inverse, column);
        }

        return w;
    }

    // Each column's pivot at its own turn, given that all before it are gone.
    private static double[] PivotsOfGroup(double[,] inverse, int column, int group)
    {
        double[,] copy = (double[,])inverse.Clone();
        double[] pivots = new double[group];
        for (int x = 0; x < group; x++)
        {
            pivots[x] = copy[column + x, column + x];
            Eliminate(copy, column + x);
        }

        return pivots;
    }

    // The inverse of H without this row and column.
    private static void Eliminate(double[,] inverse, int column)
    {
        int n = inverse.GetLength(0);
        double pivot = inverse[column, column];
        double[] row = [.. Enumerable.Range(0, n).Select(j => inverse[column, j])];
        for (int i = column; i < n; i++)
        {
            double factor = row[i] / pivot;
            for (int j = column; j < n; j++)
            {
                inverse[i, j] -= factor * row[j];
            }
        }
    }

    private static double[,] Inverse(double[,] a) => MathNet.Numerics.LinearAlgebra.Matrix<double>.Build.DenseOfArray(a).Inverse().ToArray();
}
