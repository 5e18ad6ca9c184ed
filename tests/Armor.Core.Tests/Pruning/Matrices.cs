using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

/// <summary>Small float64 matrices in plain loops: what the tests compare the library with, written independently of it.</summary>
internal static class Matrices
{
    public static double[,] Random(Random random, int rows, int columns, double scale = 1)
    {
        double[,] result = new double[rows, columns];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                // A float, so that a tensor holds the same value.
                result[i, j] = (float)(scale * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
            }
        }

        return result;
    }

    /// <summary>X·Xᵀ/n of random inputs with correlations: a positive definite second moment.</summary>
    public static double[,] SecondMoment(Random random, int dimension)
    {
        double[,] mix = Random(random, dimension, dimension, 0.5);
        double[,] h = Product(mix, Transposed(mix));
        for (int i = 0; i < dimension; i++)
        {
            h[i, i] += 0.5;
        }

        return h;
    }

    public static double[,] Product(double[,] a, double[,] b)
    {
        double[,] c = new double[a.GetLength(0), b.GetLength(1)];
        for (int i = 0; i < c.GetLength(0); i++)
        {
            for (int k = 0; k < a.GetLength(1); k++)
            {
                for (int j = 0; j < c.GetLength(1); j++)
                {
                    c[i, j] += a[i, k] * b[k, j];
                }
            }
        }

        return c;
    }

    public static double[,] Transposed(double[,] a)
    {
        double[,] t = new double[a.GetLength(1), a.GetLength(0)];
        for (int i = 0; i < a.GetLength(0); i++)
        {
            for (int j = 0; j < a.GetLength(1); j++)
            {
                t[j, i] = a[i, j];
            }
        }

        return t;
    }

    public static double[,] Minus(double[,] a, double[,] b)
    {
        double[,] c = (double[,])a.Clone();
        for (int i = 0; i < a.GetLength(0); i++)
        {
            for (int j = 0; j < a.GetLength(1); j++)
            {
                c[i, j] -= b[i, j];
            }
        }

        return c;
    }

    public static double[,] Diagonal(double[] values)
    {
        double[,] d = new double[values.Length, values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            d[i, i] = values[i];
        }

        return d;
    }

    /// <summary>tr(E·H·Eᵀ).</summary>
    public static double Loss(double[,] error, double[,] hessian)
    {
        double[,] product = Product(error, hessian);
        double sum = 0;
        for (int i = 0; i < error.GetLength(0); i++)
        {
            for (int j = 0; j < error.GetLength(1); j++)
            {
                sum += product[i, j] * error[i, j];
            }
        }

        return sum;
    }

    /// <summary>Blocks [n, b, b] spread out on the diagonal; the identity where there are none.</summary>
    public static double[,] Spread(Tensor? blocks, int dimension)
    {
        double[,] result = new double[dimension, dimension];
        int size = blocks is null ? 1 : (int)blocks.shape[1];
        for (int i = 0; i < dimension; i++)
        {
            for (int j = i / size * size; j < (i / size * size) + size; j++)
            {
                result[i, j] = blocks is null ? 1 : blocks[i / size, i % size, j % size].ToNumber();
            }
        }

        return result;
    }

    public static Tensor ToTensor(double[,] a) => tensor(a).to(float32);

    public static double[,] FromTensor(Tensor t)
    {
        double[] values = t.to(float64).contiguous().data<double>().ToArray();
        double[,] result = new double[t.shape[0], t.shape[1]];
        Buffer.BlockCopy(values, 0, result, 0, values.Length * sizeof(double));
        return result;
    }

    public static double[,] FromRows(float[] values, int rows, int columns)
    {
        double[,] result = new double[rows, columns];
        for (int i = 0; i < values.Length; i++)
        {
            result[i / columns, i % columns] = values[i];
        }

        return result;
    }
}
