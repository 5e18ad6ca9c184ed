using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Cuda.Tests.Decoding;

/// <summary>Small factorised checkpoints.</summary>
internal static class RandomFactors
{
    /// <summary>Replaces the linears of a dense model, all but every fifth, by random factors, whose blocks are sometimes such as no fragment fits.</summary>
    public static string Write(string dense, string output, TensorElementType? coreType = null)
    {
        using var source = CheckpointFolder.Open(dense);
        string[] linears = [.. ModelShapes.LinearNames(source.Configuration).Where((_, index) => index % 5 != 4)];
        var seed = 1;
        ArmorCheckpointWriter.Write(
            source, output, linears, TensorElementType.Float32, linear =>
            {
                var shape = source.GetTensor(linear + ".weight").Shape;
                return Layer((int)shape[0], (int)shape[1], seed++);
            },
            coreType: coreType);
        return output;
    }

    private static ArmorLayer Layer(int rows, int columns, int seed)
    {
        int?[] blocks = [null, 16, 4];
        int? Block(int size) => blocks[seed % 3] is { } block && size % block == 0 ? block : null;
        return Generators.RandomLayer(rows, columns, Block(rows), Block(columns), seed);
    }
}
