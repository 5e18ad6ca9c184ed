using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Benchmarks.Pruning;

/// <summary>Weights of the middle layer of a trained model with the mean squares of their inputs on its calibration text.</summary>
internal static class TrainedWeights
{
    private const int Documents = 32;

    /// <summary>The weights by name; the caller disposes both tensors.</summary>
    /// <param name="model">A model's folder.</param>
    /// <param name="text">A file of documents.</param>
    public static IReadOnlyList<(string Name, Tensor Weight, Tensor MeanSquares)> Load(string model, string text)
    {
        using var noGradients = no_grad();
        using var scope = NewDisposeScope();
        using CausalLanguageModel dense = CausalLanguageModel.Load(model);
        int middle = dense.Layers.Count / 2;
        DecoderLayer layer = dense.Layers[middle];
        using var attention = new ActivationAccumulator("attention", dense.Configuration.HiddenSize, ActivationMoments.Diagonal);
        using var mlp = new ActivationAccumulator("mlp", dense.Configuration.HiddenSize, ActivationMoments.Diagonal);
        using var inner = new ActivationAccumulator("down", dense.Configuration.IntermediateSize, ActivationMoments.Diagonal);
        IReadOnlyList<string> documents = TextCorpus.SplitDocuments(File.ReadAllText(text));
        foreach (int[] tokens in TextCorpus.TokenizeDocuments(documents.Take(Documents), ModelTokenizer.Load(model), dense.Configuration.ContextLength))
        {
            using var documentScope = NewDisposeScope();
            Tensor x = dense.Embed(tensor(tokens.Select(token => (long)token).ToArray()).unsqueeze(0));
            foreach (DecoderLayer before in dense.Layers.Take(middle))
            {
                x = before.Forward(x);
            }

            Tensor normed = layer.AttentionInput(x);
            attention.Add(normed);
            Tensor m = layer.MlpInput(layer.AddAttention(x, layer.AttentionContext(normed)));
            mlp.Add(m);
            inner.Add(layer.MlpActivation(m));
        }

        return
        [
            Take("self_attn.q_proj", attention),
            Take("mlp.gate_proj", mlp),
            Take("mlp.down_proj", inner),
        ];

        (string, Tensor, Tensor) Take(string linear, ActivationAccumulator sums)
        {
            using ActivationStatistics statistics = sums.Build();
            return (
                $"{Path.GetFileName(Path.GetFullPath(model))}, layers.{middle}.{linear}",
                layer.GetLinearWeight(linear).to(float32, copy: true).DetachFromDisposeScope(),
                statistics.Diagonal.clone().DetachFromDisposeScope());
        }
    }
}
