using System.Runtime.Intrinsics;
using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Tests.Generation.Attention;

/// <summary>Attention's small product in every width that the processor has, against float64.</summary>
public sealed unsafe class BlockProductTests
{
    [Test]
    public void EveryWidthAndShape([Values(16, 8, 4)] int width, [Values(1, 2, 3, 4, 5, 9)] int rows, [Values(1, 7, 64)] int inner, [Values] bool adds)
    {
        for (int vectors = 1; vectors <= 9; vectors++)
        {
            int columns = vectors * width;
            (int aStride, int bStride, int cStride) = (inner + 3, columns + width, columns + 5);
            var random = new Random(vectors);
            float[] a = Values(rows * aStride, random);
            float[] b = Values(inner * bStride, random);
            float[] c = Values(rows * cStride, random);
            float[] found = [.. c];
            if (!Multiply(width, a, aStride, b, bStride, found, cStride, rows, inner, columns, adds))
            {
                Assert.Ignore($"The processor has no vectors of {width}.");
            }

            for (int i = 0; i < found.Length; i++)
            {
                (int row, int column) = (i / cStride, i % cStride);
                double expected = column >= columns ? c[i]
                    : (adds ? c[i] : 0) + Enumerable.Range(0, inner).Sum(k => (double)a[(row * aStride) + k] * b[(k * bStride) + column]);
                Assert.That(found[i], Is.EqualTo(expected).Within(column < columns ? 1e-5 : 0), $"{vectors} vectors, row {row}, column {column}");
            }
        }
    }

    private static bool Multiply(
        int width, float[] a, int aStride, float[] b, int bStride, float[] c, int cStride, int rows, int inner, int columns, bool adds)
    {
        fixed (float* x = a, y = b, z = c)
        {
            switch (width)
            {
                case 16 when Vectors512.IsSupported:
                    BlockProduct<Vector512<float>, Vectors512>.Multiply(x, aStride, y, bStride, z, cStride, rows, inner, columns, adds, y);
                    return true;
                case 8 when Vectors256.IsSupported:
                    BlockProduct<Vector256<float>, Vectors256>.Multiply(x, aStride, y, bStride, z, cStride, rows, inner, columns, adds, y);
                    return true;
                case 4:
                    BlockProduct<Vector128<float>, Vectors128>.Multiply(x, aStride, y, bStride, z, cStride, rows, inner, columns, adds, y);
                    return true;
                default:
                    return false;
            }
        }
    }

    private static float[] Values(int count, Random random) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
}
