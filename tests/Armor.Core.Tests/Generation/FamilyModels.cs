using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Generation;

/// <summary>Tiny random models of every family, dense and as ARMOR checkpoints, with every weight, norm and bias away from its default.</summary>
internal static class FamilyModels
{
    private static readonly ModelConfiguration Llama = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 32,
        IntermediateSize = 44,
        LayerCount = 3,
        AttentionHeadCount = 4,
        KeyValueHeadCount = 4,
        HeadSize = 8,
        VocabularySize = 67,
        ContextLength = 160,
        NormEpsilon = 1e-5f,
    };

    /// <summary>Each by a name for test reports.</summary>
    public static readonly IReadOnlyDictionary<string, ModelConfiguration> All = new Dictionary<string, ModelConfiguration>
    {
        ["Llama 2"] = Llama,
        ["Llama 3"] = Llama with
        {
            KeyValueHeadCount = 2,
            RopeTheta = 500_000,
            RopeScaling = new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 32),
            TieWordEmbeddings = true,
        },
        ["Llama, linear scaling, biases"] = Llama with
        {
            RopeScaling = new RopeScaling(RopeScalingKind.Linear, 3),
            QueryKeyValueBias = true,
            OutputBias = true,
            MlpBias = true,
        },
        ["Mistral, sliding window"] = Llama with { Family = ModelFamily.Mistral, KeyValueHeadCount = 1, HeadSize = 6, SlidingWindow = 7 },
        ["Qwen2, window from layer 1"] = Llama with
        {
            Family = ModelFamily.Qwen2,
            KeyValueHeadCount = 2,
            QueryKeyValueBias = true,
            SlidingWindow = 9,
            FirstSlidingLayer = 1,
            TieWordEmbeddings = true,
        },
        ["Qwen3"] = Llama with { Family = ModelFamily.Qwen3, KeyValueHeadCount = 2, HeadSize = 20, QueryKeyNorm = true, TieWordEmbeddings = true },
    };

    /// <summary>Writes a dense model in float32.</summary>
    public static string WriteDense(string folder, ModelConfiguration configuration, int seed = 1)
    {
        using var model = new CausalLanguageModel(configuration);
        using var generator = new Generator((ulong)seed);
        foreach ((string name, var weight) in model.Weights)
        {
            using var scope = NewDisposeScope();
            Tensor noise = randn([.. weight.shape], generator: generator);
            bool isNorm = name.EndsWith("norm.weight", StringComparison.Ordinal);
            model.SetWeight(name, isNorm ? 1 + (0.2 * noise) : 0.25 * noise);
        }

        model.Save(folder, TensorElementType.Float32);
        return folder;
    }

    /// <summary>Replaces the linears of a dense model, all but every fifth, by random factors, some without one wrapper or both.</summary>
    public static string WritePruned(string dense, string output)
    {
        using CheckpointFolder source = CheckpointFolder.Open(dense);
        var random = new Random(5);
        string[] linears = [.. ModelShapes.LinearNames(source.Configuration).Where((_, index) => index % 5 != 4)];
        ArmorCheckpointWriter.Write(source, output, linears, TensorElementType.Float32, linear =>
        {
            IReadOnlyList<long> shape = source.GetTensor(linear + ".weight").Shape;
            return RandomLayer((int)shape[0], (int)shape[1], random);
        });
        return output;
    }

    /// <summary>
    /// Replaces every linear of a trained model by A·S·B near it: the two largest of each four weights between wrappers near the identity.
    /// </summary>
    public static string WriteFactorised(string dense, string output, int block = 16)
    {
        using CheckpointFolder source = CheckpointFolder.Open(dense);
        var random = new Random(6);
        ArmorCheckpointWriter.Write(source, output, [.. ModelShapes.LinearNames(source.Configuration)], TensorElementType.Float32, linear =>
        {
            IReadOnlyList<long> shape = source.GetTensor(linear + ".weight").Shape;
            float[] weight = source.ReadFloat32(linear + ".weight");
            for (int group = 0; group < weight.Length; group += 4)
            {
                foreach (int i in Enumerable.Range(group, 4).OrderBy(i => MathF.Abs(weight[i])).Take(2))
                {
                    weight[i] = 0;
                }
            }

            var core = SparseCore.FromDense(weight, (int)shape[0], (int)shape[1]);
            return new ArmorLayer(NearIdentity((int)shape[0], block, random), core, NearIdentity((int)shape[1], block, random));
        });
        return output;
    }

    private static BlockDiagonalMatrix? NearIdentity(int size, int block, Random random)
    {
        if (size % block != 0)
        {
            return null;
        }

        float[] values = [.. Enumerable.Range(0, size * block).Select(i => (0.05f * Normal(random)) + (i / block % block == i % block ? 1 : 0))];
        return new BlockDiagonalMatrix(size / block, block, values);
    }

    private static ArmorLayer RandomLayer(int rows, int columns, Random random)
    {
        var dense = new float[rows * columns];
        for (int group = 0; group < dense.Length; group += 4)
        {
            dense[group + random.Next(0, 2)] = Normal(random) * 0.35f;
            dense[group + random.Next(2, 4)] = Normal(random) * 0.35f;
        }

        return new ArmorLayer(RandomWrapper(rows, random), SparseCore.FromDense(dense, rows, columns), RandomWrapper(columns, random));
    }

    private static BlockDiagonalMatrix? RandomWrapper(int size, Random random)
    {
        int[] divisors = [.. Enumerable.Range(1, size).Where(divisor => size % divisor == 0)];
        int block = divisors[random.Next(divisors.Length)];
        float deviation = 1 / MathF.Sqrt(block);
        float[] values = [.. Enumerable.Range(0, size * block).Select(_ => Normal(random) * deviation)];
        return block == 1 ? null : new BlockDiagonalMatrix(size / block, block, values);
    }

    private static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
}
