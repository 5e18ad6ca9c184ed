using System.Globalization;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Benchmarks.Models;

/// <summary>
/// A model of random weights, dense and as ARMOR checkpoints. How long a token takes does not depend on the weights' values, so none is pruned: cores
/// get random masks and values, wrappers are the identity with noise. The kept values are whole numbers times a power of two, exact in 8 bits and in
/// bfloat16: both ARMOR folders hold the same model.
/// </summary>
internal static class RandomModel
{
    private const int Block = 128;
    private const float CoreScale = 1f / 4096;
    private const float DenseDeviation = 0.02f;
    private const float WrapperNoise = 0.01f;
    private const int Piece = 1 << 22;

    /// <summary>The six masks of a group of four.</summary>
    private static readonly byte[] Masks = [0b0011, 0b0101, 0b0110, 0b1001, 0b1010, 0b1100];

    /// <summary>The shape of Llama 3.2 1B.</summary>
    public static ModelConfiguration Llama1B { get; } = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 2048,
        IntermediateSize = 8192,
        LayerCount = 16,
        AttentionHeadCount = 32,
        KeyValueHeadCount = 8,
        HeadSize = 64,
        VocabularySize = 128256,
        ContextLength = 8192,
        NormEpsilon = 1e-5f,
        RopeTheta = 500000,
        TieWordEmbeddings = true,
        BeginOfSequence = 128000,
        EndOfSequence = [128001],
        StoredType = TensorElementType.BFloat16,
    };

    /// <summary>Writes the dense folder, in bfloat16.</summary>
    public static void WriteDense(string folder, ModelConfiguration model)
    {
        Directory.CreateDirectory(folder);
        TensorDescription[] tensors =
            [.. ModelShapes.Enumerate(model).Select(tensor => new TensorDescription(tensor.Name, TensorElementType.BFloat16, tensor.Shape))];
        using (SafetensorsWriter writer = SafetensorsWriter.Create(Path.Combine(folder, "model.safetensors"), tensors))
        {
            var random = new Numbers(1);
            var piece = new ushort[Piece];
            foreach (TensorDescription tensor in tensors)
            {
                bool isNorm = tensor.Shape.Count == 1;
                for (long first = 0; first < tensor.ElementCount; first += Piece)
                {
                    Span<ushort> values = piece.AsSpan(0, (int)Math.Min(Piece, tensor.ElementCount - first));
                    foreach (ref ushort value in values)
                    {
                        value = (ushort)(BitConverter.SingleToUInt32Bits(isNorm ? 1 : random.Uniform(DenseDeviation)) >> 16);
                    }

                    writer.Write(tensor.Name, MemoryMarshal.AsBytes(values));
                }
            }

            writer.Commit();
        }

        File.WriteAllText(Path.Combine(folder, "config.json"), ConfigurationWriter.Write(model));
    }

    /// <summary>Writes an ARMOR folder: wrappers of blocks of 128 in bfloat16, cores in bfloat16 or 8 bits.</summary>
    public static void WriteArmor(string dense, string folder, bool isInt8)
    {
        using CheckpointFolder checkpoint = CheckpointFolder.Open(dense);
        string[] linears = [.. Enumerable.Range(0, checkpoint.Configuration.LayerCount).SelectMany(layer =>
            ModelShapes.Linears(checkpoint.Configuration).Select(linear => ModelShapes.LayerPrefix(layer) + linear.Name))];
        var random = new Numbers(2);
        ArmorCheckpointWriter.Write(
            checkpoint,
            folder,
            linears,
            TensorElementType.BFloat16,
            linear => MakeLayer(checkpoint.GetTensor(linear + ".weight"), random, isInt8),
            coreType: isInt8 ? TensorElementType.Int8 : null);
    }

    /// <summary>Tokens of a prompt or a continuation; which they are changes nothing.</summary>
    public static int[] Tokens(int count, ModelConfiguration model, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.Next(model.VocabularySize))];
    }

    private static ArmorLayer MakeLayer(TensorDescription weight, Numbers random, bool isInt8)
    {
        (int rows, int columns) = ((int)weight.Shape[0], (int)weight.Shape[1]);
        BlockDiagonalMatrix output = Wrapper(rows, random);
        BlockDiagonalMatrix input = Wrapper(columns, random);
        var mask = new byte[rows * (columns / 8)];
        foreach (ref byte pair in mask.AsSpan())
        {
            uint draw = random.Next();
            pair = (byte)(Masks[draw % 6] | (Masks[(draw >> 8) % 6] << 4));
        }

        var values = new sbyte[rows * (columns / 2)];
        foreach (ref sbyte value in values.AsSpan())
        {
            value = (sbyte)((random.Next() % 255) - 127);
        }

        if (!isInt8)
        {
            return new ArmorLayer(output, new SparseCore(rows, columns, Array.ConvertAll(values, value => value * CoreScale), mask), input);
        }

        var scales = new float[rows * ((columns + 255) / 256)];
        Array.Fill(scales, CoreScale);
        return new ArmorLayer(output, SparseCore.FromQuantised(rows, columns, values, scales, mask), input);
    }

    private static BlockDiagonalMatrix Wrapper(int size, Numbers random)
    {
        var values = new float[size * Block];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = random.Uniform(WrapperNoise) + (i / Block % Block == i % Block ? 1 : 0);
        }

        return new BlockDiagonalMatrix(size / Block, Block, values);
    }

    /// <summary>Xorshift: a billion numbers in seconds.</summary>
    private sealed class Numbers(ulong seed)
    {
        private ulong state = seed * 0x9E3779B97F4A7C15;

        public uint Next()
        {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            return (uint)(state >> 32);
        }

        /// <summary>Uniform around 0.</summary>
        public float Uniform(float deviation) => (int)Next() * (1f / int.MinValue * -1.7320508f) * deviation;
    }
}
