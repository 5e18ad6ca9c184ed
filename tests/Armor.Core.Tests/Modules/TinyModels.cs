using Armor.Core.Modules;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Modules;

/// <summary>One tiny configuration for each thing that sets families apart, and models of random weights.</summary>
internal static class TinyModels
{
    private static readonly ModelConfiguration s_llama = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 24,
        IntermediateSize = 40,
        LayerCount = 3,
        AttentionHeadCount = 4,
        KeyValueHeadCount = 2,
        HeadSize = 6,
        VocabularySize = 50,
        ContextLength = 64,
        NormEpsilon = 1e-5f,
        TieWordEmbeddings = true,
    };

    public static IEnumerable<TestCaseData> Families()
    {
        yield return Case("Llama, tied head", s_llama);
        yield return Case("Llama, head of its own, one key/value head", s_llama with { TieWordEmbeddings = false, KeyValueHeadCount = 1 });
        yield return Case("Llama, biases everywhere, as many key/value heads as heads", s_llama with
        {
            QueryKeyValueBias = true,
            OutputBias = true,
            MlpBias = true,
            KeyValueHeadCount = 4,
        });
        yield return Case("Llama 3, stretched wavelengths", s_llama with
        {
            HeadSize = 16,
            RopeTheta = 500,
            RopeScaling = new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 64),
        });
        yield return Case("Llama, linearly stretched wavelengths", s_llama with { RopeScaling = new RopeScaling(RopeScalingKind.Linear, 4) });
        yield return Case("Mistral, sliding window", s_llama with { Family = ModelFamily.Mistral, SlidingWindow = 5, TieWordEmbeddings = false });
        yield return Case("Mistral, window as long as the sequence", s_llama with { Family = ModelFamily.Mistral, SlidingWindow = 17 });
        yield return Case("Qwen2, biases, a window in the later layers", s_llama with
        {
            Family = ModelFamily.Qwen2,
            QueryKeyValueBias = true,
            SlidingWindow = 4,
            FirstSlidingLayer = 1,
        });
        yield return Case("Qwen3, normed queries and keys, heads wider than hidden", s_llama with
        {
            Family = ModelFamily.Qwen3,
            QueryKeyNorm = true,
            HeadSize = 10,
            TieWordEmbeddings = false,
        });
    }

    public static ModelConfiguration Llama => s_llama;

    /// <summary>Weights large enough that every part of a layer matters to the logits.</summary>
    public static CausalLanguageModel Create(ModelConfiguration configuration, int seed = 3)
    {
        var model = new CausalLanguageModel(configuration);
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        foreach (var (name, weight) in model.Weights)
        {
            var values = randn(weight.shape, generator: generator);
            var isNorm = name.EndsWith("norm.weight", StringComparison.Ordinal);
            model.SetWeight(name, isNorm ? 1 + (0.3 * values) : weight.shape.Length == 1 ? 0.5 * values : values / Math.Sqrt(weight.shape[1]) * 1.5);
        }

        return model;
    }

    /// <summary>Copies of all weights in double precision.</summary>
    public static Dictionary<string, double[]> Weights(CausalLanguageModel model) =>
        model.Weights.ToDictionary(entry => entry.Key, entry => Doubles(entry.Value));

    public static double[] Doubles(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        return tensor.detach().to(ScalarType.Float64).contiguous().data<double>().ToArray();
    }

    public static int[] Tokens(ModelConfiguration configuration, int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, length).Select(_ => random.Next(configuration.VocabularySize))];
    }

    /// <summary>[batch, length].</summary>
    public static Tensor Batch(params int[][] sequences) =>
        tensor(sequences.SelectMany(sequence => sequence.Select(token => (long)token)).ToArray(), [sequences.Length, sequences[0].Length]);

    private static TestCaseData Case(string name, ModelConfiguration configuration) => new TestCaseData(configuration).SetArgDisplayNames(name);
}
