using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Cuda.SelfTest;

/// <summary>Small checkpoints of random numbers, one configuration for each thing that sets the families apart.</summary>
internal static class RandomModel
{
    public const int Vocabulary = 131;

    private static readonly ModelConfiguration Base = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 32,
        IntermediateSize = 48,
        LayerCount = 2,
        AttentionHeadCount = 4,
        KeyValueHeadCount = 2,
        HeadSize = 16,
        VocabularySize = Vocabulary,
        ContextLength = 320,
        NormEpsilon = 1e-5f,
    };

    /// <summary>Each by a name for reports.</summary>
    public static readonly IReadOnlyDictionary<string, ModelConfiguration> All = new Dictionary<string, ModelConfiguration>
    {
        ["Llama"] = Base,
        ["Llama 3, tied head, one key/value head"] = Base with
        {
            KeyValueHeadCount = 1, TieWordEmbeddings = true, RopeTheta = 500_000, RopeScaling = new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 32),
        },
        ["Llama, biases everywhere, as many key/value heads as heads"] = Base with
        {
            KeyValueHeadCount = 4, QueryKeyValueBias = true, OutputBias = true, MlpBias = true, RopeScaling = new RopeScaling(RopeScalingKind.Linear, 3),
        },
        ["Mistral, sliding window, nine heads to one"] = Base with
        {
            Family = ModelFamily.Mistral, AttentionHeadCount = 9, KeyValueHeadCount = 1, HeadSize = 6, SlidingWindow = 7,
        },
        ["Qwen2, biases, a window in the later layer"] = Base with
        {
            Family = ModelFamily.Qwen2, QueryKeyValueBias = true, SlidingWindow = 20, FirstSlidingLayer = 1, AttentionHeadCount = 6, HeadSize = 8,
        },
        ["Qwen3, normed queries and keys"] = Base with { Family = ModelFamily.Qwen3, QueryKeyNorm = true, HeadSize = 20 },
        ["Gemma 2, soft caps and windows"] = Base with
        {
            Family = ModelFamily.Gemma2, SlidingWindow = 9, FullAttentionPeriod = 2, AttentionSoftCap = 5, LogitSoftCap = 8, QueryScalar = 12, TieWordEmbeddings = true,
            StoredType = TensorElementType.BFloat16,
        },
        ["Gemma 3, two rotations"] = Base with
        {
            Family = ModelFamily.Gemma3, LayerCount = 3, SlidingWindow = 11, FullAttentionPeriod = 3, LocalRopeTheta = 100, QueryKeyNorm = true, QueryScalar = 12,
            TieWordEmbeddings = true,
        },
        ["Mixtral, two experts of five"] = Base with { Family = ModelFamily.Mixtral, Experts = new ExpertConfiguration(5, 2, true) },
        ["Qwen3-MoE, one expert of four, raw weights"] = Base with
        {
            Family = ModelFamily.Qwen3Moe, QueryKeyNorm = true, IntermediateSize = 20, Experts = new ExpertConfiguration(4, 1, false),
        },
        ["Phi-3, LongRoPE, partial rotation"] = Base with
        {
            Family = ModelFamily.Phi3, PartialRotarySize = 12, ContextLength = 128, RopeScaling = new RopeScaling(RopeScalingKind.LongRope, 4, OriginalContextLength: 32)
            {
                ShortFactors = [1, 1.1, 1.2, 1.3, 1.5, 1.9], LongFactors = [1, 1.4, 2.2, 3, 3.9, 5], Magnitude = RopeScaling.LongRopeMagnitude(4, 32),
            },
        },
    };

    /// <summary>Writes a dense model; its final norm may be made larger.</summary>
    public static string Write(string folder, ModelConfiguration configuration, int seed = 1, float normScale = 1)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), ConfigurationWriter.Write(configuration));
        TensorDescription[] tensors = [.. Stored(configuration).Select(tensor => new TensorDescription(tensor.Name, TensorElementType.Float32, tensor.Shape))];
        using var writer = SafetensorsWriter.Create(Path.Combine(folder, "model.safetensors"), tensors);
        var random = new Random(seed);
        foreach (var tensor in tensors)
        {
            var values = Values(tensor, configuration, random);
            writer.WriteFloat32(tensor.Name, tensor.Name == ModelShapes.FinalNorm ? Array.ConvertAll(values, value => value * normScale) : values);
        }

        writer.Commit();
        return folder;
    }

    /// <summary>Tensors as the family's files have them.</summary>
    private static IEnumerable<(string Name, IReadOnlyList<long> Shape)> Stored(ModelConfiguration configuration)
    {
        var fused = ModelShapes.FusedLinears(configuration);
        foreach (var tensor in ModelShapes.Enumerate(configuration))
        {
            var part = fused.FirstOrDefault(linear => linear.Parts.Any(name => tensor.Name.EndsWith(name + ".weight", StringComparison.Ordinal)));
            if (part is null)
            {
                yield return (tensor.Name, tensor.Shape);
            }
            else if (tensor.Name.EndsWith(part.Parts[0] + ".weight", StringComparison.Ordinal))
            {
                var rows = part.Name.Contains("qkv", StringComparison.Ordinal)
                    ? configuration.QuerySize + (2 * configuration.KeyValueSize)
                    : 2 * configuration.IntermediateSize;
                yield return (tensor.Name.Replace(part.Parts[0], part.Name, StringComparison.Ordinal), [rows, configuration.HiddenSize]);
            }
        }
    }

    private static float[] Values(TensorDescription tensor, ModelConfiguration configuration, Random random)
    {
        var isNorm = tensor.Name.EndsWith("norm.weight", StringComparison.Ordinal);
        var mean = isNorm && !configuration.HasUnitOffsetNorms ? 1f : 0;
        var deviation = isNorm ? 0.2f : tensor.Shape.Count == 1 ? 0.4f : 1.2f / MathF.Sqrt(tensor.Shape[1]);
        return [.. RandomWeights.Values(random, (int)tensor.ElementCount).Select(value => mean + (deviation * value * 1.7f))];
    }
}
