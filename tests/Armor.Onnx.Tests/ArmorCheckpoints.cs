using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Onnx.Tests;

/// <summary>ARMOR checkpoints of random factors.</summary>
internal static class ArmorCheckpoints
{
    /// <summary>Replaces the linears of a dense model, all but every fifth, by random factors, some without one wrapper or both.</summary>
    /// <param name="dense">The dense model.</param>
    /// <param name="output">The folder to write.</param>
    /// <param name="coreType">I8 for quantised cores.</param>
    public static string Write(string dense, string output, TensorElementType? coreType = null)
    {
        using CheckpointFolder source = CheckpointFolder.Open(dense);
        var random = new Random(5);
        string[] linears = [.. ModelShapes.LinearNames(source.Configuration).Where((_, index) => index % 5 != 4)];
        ArmorCheckpointWriter.Write(source, output, linears, TensorElementType.Float32, linear =>
        {
            IReadOnlyList<long> shape = source.GetTensor(linear + ".weight").Shape;
            return RandomLayer((int)shape[0], (int)shape[1], random).RoundedTo(TensorElementType.Float32, coreType);
        }, coreType: coreType);
        return output;
    }

    /// <summary>A random core between wrappers of random block sizes, those of one value left out.</summary>
    public static ArmorLayer RandomLayer(int rows, int columns, Random random)
    {
        var dense = new float[rows * columns];
        for (int group = 0; group < dense.Length; group += 4)
        {
            dense[group + random.Next(0, 2)] = Normal(random) * 0.35f;
            dense[group + random.Next(2, 4)] = Normal(random) * 0.35f;
        }

        return new ArmorLayer(RandomWrapper(rows, random), SparseCore.FromDense(dense, rows, columns), RandomWrapper(columns, random));
    }

    public static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

    private static BlockDiagonalMatrix? RandomWrapper(int size, Random random)
    {
        int[] divisors = [.. Enumerable.Range(1, size).Where(divisor => size % divisor == 0)];
        int block = divisors[random.Next(divisors.Length)];
        float deviation = 1 / MathF.Sqrt(block);
        float[] values = [.. Enumerable.Range(0, size * block).Select(_ => Normal(random) * deviation)];
        return block == 1 ? null : new BlockDiagonalMatrix(size / block, block, values);
    }
}
