using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Onnx.Tests;

/// <summary>One tiny configuration for each thing that sets the exported families apart, and checkpoints of random weights.</summary>
internal static class Decoders
{
    private static readonly ModelConfiguration Base = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 24,
        IntermediateSize = 40,
        LayerCount = 2,
        AttentionHeadCount = 4,
        KeyValueHeadCount = 2,
        HeadSize = 6,
        VocabularySize = 50,
        ContextLength = 40,
        NormEpsilon = 1e-5f,
        TieWordEmbeddings = true,
    };

    public static ModelConfiguration Llama => Base;

    public static IEnumerable<TestCaseData> Families()
    {
        yield return Case("Llama, tied head", Base);
        yield return Case("Llama, head of its own, one key/value head", Base with { TieWordEmbeddings = false, KeyValueHeadCount = 1 });
        yield return Case("Llama, biases everywhere, as many key/value heads as heads", Base with
        {
            QueryKeyValueBias = true,
            OutputBias = true,
            MlpBias = true,
            KeyValueHeadCount = 4,
        });
        yield return Case("Llama 3, stretched wavelengths", Base with { RopeTheta = 500, RopeScaling = new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 32) });
        yield return Case("Mistral, sliding window", Base with { Family = ModelFamily.Mistral, SlidingWindow = 5, TieWordEmbeddings = false });
        yield return Case("Qwen2, biases, a window in the later layer", Base with
        {
            Family = ModelFamily.Qwen2,
            QueryKeyValueBias = true,
            SlidingWindow = 4,
            FirstSlidingLayer = 1,
        });
        yield return Case("Qwen3, normed queries and keys, heads wider than hidden", Base with
        {
            Family = ModelFamily.Qwen3,
            QueryKeyNorm = true,
            HeadSize = 10,
            TieWordEmbeddings = false,
        });
        yield return Case("Gemma 2, soft caps and a window in every second layer", Base with
        {
            Family = ModelFamily.Gemma2,
            SlidingWindow = 6,
            FullAttentionPeriod = 2,
            AttentionSoftCap = 5,
            LogitSoftCap = 8,
            QueryScalar = 12,
        });
        yield return Case("Gemma 3, a rotation of its own in layers with a window", Base with
        {
            Family = ModelFamily.Gemma3,
            SlidingWindow = 6,
            FullAttentionPeriod = 2,
            LocalRopeTheta = 100,
            RopeTheta = 1e4,
            QueryKeyNorm = true,
            QueryScalar = 12,
        });
        yield return Case("Phi-3, a rotation of part of the head", Base with { Family = ModelFamily.Phi3, HeadSize = 8, PartialRotarySize = 4, TieWordEmbeddings = false });
    }

    /// <summary>Writes a checkpoint of weights large enough that every part of a layer matters to the logits.</summary>
    public static string Write(string folder, ModelConfiguration configuration, TensorElementType type = TensorElementType.Float32, int seed = 3)
    {
        using var model = new CausalLanguageModel(configuration);
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        foreach ((string name, var weight) in model.Weights)
        {
            Tensor values = randn(weight.shape, generator: generator);
            float scale = name.EndsWith("norm.weight", StringComparison.Ordinal) ? 0.3f : weight.shape.Length == 1 ? 0.5f : 1.5f / MathF.Sqrt(weight.shape[1]);
            float offset = name.EndsWith("norm.weight", StringComparison.Ordinal) ? 1 : 0;
            float[] scaled = Array.ConvertAll(values.data<float>().ToArray(), value => (value * scale) + offset);
            model.SetWeight(name, tensor(scaled, weight.shape));
        }

        model.Save(folder, type);
        return folder;
    }

    public static int[] Tokens(ModelConfiguration configuration, int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(configuration.VocabularySize))];
    }

    private static TestCaseData Case(string name, ModelConfiguration configuration) => new TestCaseData(configuration).SetArgDisplayNames(name);
}
