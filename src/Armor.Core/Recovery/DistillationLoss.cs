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
        using var scope = NewDisposeScope();
        return Pieces(batch.SelectTokens(denseHidden), batch.SelectTokens(prunedHidden), (expected, found) =>
            (expected.exp() * (expected - found)).sum(ScalarType.Float64).item<double>());
    }

    /// <summary>The sum, and its gradient by the pruned model's residual stream.</summary>
    /// <param name="denseHidden">[batch, length, hidden].</param>
    /// <param name="prunedHidden">[batch, length, hidden]; its own graph is not touched.</param>
    /// <param name="batch">Tells which tokens are padding.</param>
    /// <param name="scale">Multiplies the gradient.</param>
    /// <returns>The sum, and the gradient [batch, length, hidden] in the caller's dispose scope.</returns>
    public (double Sum, Tensor Gradient) Backward(Tensor denseHidden, Tensor prunedHidden, CalibrationBatch batch, double scale)
    {
        using var scope = NewDisposeScope();
        Tensor leaf = batch.SelectTokens(prunedHidden.detach()).detach().requires_grad_(true);
        double sum = Pieces(batch.SelectTokens(denseHidden), leaf, (expected, found) =>
        {
            Tensor loss = (expected.exp() * (expected - found)).sum();
            loss.Times(scale).backward();
            return loss.item<float>();
        });
        return (sum, batch.PlaceTokens(leaf.grad!).MoveToOuterDisposeScope());
    }

    /// <summary>Sums a function of both models' log-probabilities, [tokens, vocabulary], the dense one's without gradients.</summary>
    private double Pieces(Tensor denseRows, Tensor prunedRows, Func<Tensor, Tensor, double> work)
    {
        long count = denseRows.shape[0];
        long piece = Math.Max(1, LogitsAtATime / dense.Configuration.VocabularySize);
        double sum = 0;
        for (long start = 0; start < count; start += piece)
        {
            using var scope = NewDisposeScope();
            long length = Math.Min(piece, count - start);
            Tensor expected;
            using (no_grad())
            {
                expected = LogProbabilities(dense, denseRows.narrow(0, start, length));
            }

            sum += work(expected, LogProbabilities(pruned, prunedRows.narrow(0, start, length)));
        }

        return sum;
    }

    private static Tensor LogProbabilities(CausalLanguageModel model, Tensor hidden) => nn.functional.log_softmax(model.Head(hidden).to(float32), -1);
}
