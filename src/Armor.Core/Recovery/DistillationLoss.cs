using Armor.Core.Calibration;
using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// KL(dense‖pruned) of the next token, summed over the real tokens of a batch, from both models' residual streams after their last layers. Logits
/// exist for a piece of the tokens at a time and are never stored.
/// </summary>
/// <param name="dense">Gives the dense model's head.</param>
/// <param name="pruned">Gives the pruned model's head.</param>
internal sealed class DistillationLoss(CausalLanguageModel dense, CausalLanguageModel pruned)
{
    private const long LogitsAtATime = 1 << 22;

    /// <summary>The sum, without gradients.</summary>
    /// <param name="denseHidden">[batch, length, hidden].</param>
    /// <param name="prunedHidden">[batch, length, hidden].</param>
    /// <param name="batch">Tells which tokens are padding.</param>
    public double Sum(Tensor denseHidden, Tensor prunedHidden, CalibrationBatch batch)
    {
        using var withoutGradients = no_grad();
        return Pieces(denseHidden, prunedHidden, batch, (expected, found) =>
            (expected.exp() * (expected - found)).sum(ScalarType.Float64).item<double>());
    }

    /// <summary>The sum, and its gradient by the pruned model's residual stream.</summary>
    /// <param name="denseHidden">[batch, length, hidden].</param>
    /// <param name="prunedHidden">[batch, length, hidden]; its own graph is not touched.</param>
    /// <param name="batch">Tells which tokens are padding.</param>
    /// <param name="scale">Multiplies the gradient.</param>
    /// <returns>The sum, and the gradient in the caller's dispose scope.</returns>
    public (double Sum, Tensor Gradient) Backward(Tensor denseHidden, Tensor prunedHidden, CalibrationBatch batch, double scale)
    {
        using var scope = NewDisposeScope();
        Tensor leaf = prunedHidden.detach().requires_grad_(true);
        double sum = Pieces(denseHidden, leaf, batch, (expected, found) =>
        {
            Tensor loss = (expected.exp() * (expected - found)).sum();
            loss.Times(scale).backward();
            return loss.item<float>();
        });
        return (sum, leaf.grad!.MoveToOuterDisposeScope());
    }

    /// <summary>Sums a function of both models' log-probabilities, [tokens, vocabulary], the dense one's without gradients.</summary>
    private double Pieces(Tensor denseHidden, Tensor prunedHidden, CalibrationBatch batch, Func<Tensor, Tensor, double> work)
    {
        long piece = Math.Max(1, LogitsAtATime / dense.Configuration.VocabularySize);
        double sum = 0;
        for (long start = 0; start < batch.TokenCount; start += piece)
        {
            using var scope = NewDisposeScope();
            long length = Math.Min(piece, batch.TokenCount - start);
            Tensor expected;
            using (no_grad())
            {
                expected = LogProbabilities(dense, batch.SelectTokens(denseHidden).narrow(0, start, length));
            }

            sum += work(expected, LogProbabilities(pruned, batch.SelectTokens(prunedHidden).narrow(0, start, length)));
        }

        return sum;
    }

    private static Tensor LogProbabilities(CausalLanguageModel model, Tensor hidden) => nn.functional.log_softmax(model.Head(hidden).to(float32), -1);
}
