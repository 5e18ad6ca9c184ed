using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.TinyModel.Training;

/// <summary>Batches of a data set, and the mean negative log-likelihood of their next tokens.</summary>
internal static class SequenceLoss
{
    private const long Ignored = -100;

    /// <summary>Mean over the predicted tokens, in nats; the graph is kept for a backward pass where gradients are on.</summary>
    /// <param name="model">The model.</param>
    /// <param name="data">The data set.</param>
    /// <param name="indices">The sequences of the batch.</param>
    /// <param name="endToken">Learnt once a sequence; its repetitions only fill.</param>
    /// <returns>The loss and the number of predictions.</returns>
    public static (Tensor Loss, int Predictions) Compute(CausalLanguageModel model, TrainingData data, ReadOnlySpan<int> indices, int endToken)
    {
        using var scope = NewDisposeScope();
        var length = data[indices[0]].Length - 1;
        var inputs = new long[indices.Length * length];
        var targets = new long[indices.Length * length];
        var predictions = 0;
        for (var row = 0; row < indices.Length; row++)
        {
            var sequence = data[indices[row]];
            for (var i = 0; i < length; i++)
            {
                inputs[(row * length) + i] = sequence[i];
                var isFilling = sequence[i] == endToken;
                targets[(row * length) + i] = isFilling ? Ignored : sequence[i + 1];
                predictions += isFilling ? 0 : 1;
            }
        }

        var logits = model.Forward(tensor(inputs, [indices.Length, length])).view(-1, model.Configuration.VocabularySize);
        var loss = nn.functional.cross_entropy(logits.to(ScalarType.Float32), tensor(targets), ignore_index: Ignored);
        return (loss.MoveToOuterDisposeScope(), predictions);
    }

    /// <summary>Mean over all predicted tokens of the first sequences, in single precision, without gradients.</summary>
    public static double Evaluate(CausalLanguageModel model, TrainingData data, int count, int batch, int endToken)
    {
        using var withoutGradients = no_grad();
        var type = model.ComputeType;
        model.ComputeType = null;
        double sum = 0;
        long predictions = 0;
        foreach (var indices in Enumerable.Range(0, Math.Min(count, data.Count)).Chunk(batch))
        {
            using var scope = NewDisposeScope();
            var (loss, number) = Compute(model, data, indices, endToken);
            sum += loss.item<float>() * number;
            predictions += number;
        }

        model.ComputeType = type;
        return sum / predictions;
    }
}
