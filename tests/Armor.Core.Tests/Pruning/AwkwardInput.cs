namespace Armor.Core.Tests.Pruning;

/// <summary>Weights and second moments as they go wrong in practice.</summary>
internal static class AwkwardInput
{
    public static (double[,] Weight, double[,] Hessian) Create(int kind, int rows, int columns, Random random)
    {
        double[,] weight = Matrices.Random(random, rows, columns);
        double[,] h = Matrices.SecondMoment(random, columns);
        switch (kind)
        {
            case 1: // dead rows and a column that no token reaches
                for (int j = 0; j < columns; j++)
                {
                    weight[0, j] = 0;
                    h[0, j] = h[j, 0] = 0;
                }

                break;
            case 2: // every second column a copy of the one before
                for (int i = 0; i < rows; i++)
                {
                    for (int j = 1; j < columns; j += 2)
                    {
                        weight[i, j] = weight[i, j - 1];
                    }
                }

                break;
            case 3: // fewer tokens than dimensions: a singular H of rank 1
                double[,] x = Matrices.Random(random, columns, 1);
                h = Matrices.Product(x, Matrices.Transposed(x));
                break;
            case 4: // an outlier input
                for (int j = 0; j < columns; j++)
                {
                    h[1, j] *= 1e4;
                    h[j, 1] *= 1e4;
                }

                break;
            case 5: // nothing at all
                return (new double[rows, columns], new double[columns, columns]);
            case 6: // tiny weights of rank 1
                weight = Matrices.Product(Matrices.Random(random, rows, 1, 1e-6), Matrices.Random(random, 1, columns, 1e-6));
                break;
            default:
                break;
        }

        return (weight, h);
    }
}
