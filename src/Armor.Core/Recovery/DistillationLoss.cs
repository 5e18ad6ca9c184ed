using Armor.Core.Calibration;
using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// KL(dense‖pruned) of the next token, summed over the real tokens of a batch, from both models' hidden states. Logits exist for a piece of the
/// tokens at a time and are never stored.
/// </summary>
internal static class DistillationLoss
{
    private const long LogitsAtATime = 1 << 22;

    /// <summary>The sum, without gradients.</summary>
    /// <param name="dense">The dense model, and its hidden states after the last layer.</param>
    /// <param name="pruned">The pruned model, and its hidden states.</param>
    /// <param name="batch">The tokens; tells which are padding.</param>
    public static double Sum((CausalLanguageModel Model, Tensor Hidden) dense, (CausalLanguageModel Model, Tensor Hidden) pruned, CalibrationBatch batch)
    {
        using var withoutGradients = no_grad();
        using var scope = NewDisposeScope();
        return Pieces(batch.SelectTokens(dense.Hidden), batch.SelectTokens(pruned.Hidden), dense.Model, (teacher, student) =>
        {
            Tensor expected = LogProbabilities(dense.Model, teacher);
            Tensor found = LogProbabilities(pruned.Model, student);
            return (expected.exp() * (expected - found)).sum(ScalarType.Float64).item<double>();
        });
    }

    /// <summary>The sum, and its gradient by the pruned model's hidden states.</summary>
    /// <param name="dense">The dense model, and its hidden states after the last layer.</param>
    /// <param name="pruned">The pruned model, and its hidden states; their graph is not touched.</param>
    /// <param name="batch">The tokens; tells which are padding.</param>
    /// <param name="scale">Multiplies the gradient.</param>
    /// <returns>The sum, and the gradient in the caller's dispose scope.</returns>
    public static (double Sum, Tensor Gradient) Backward(
        (CausalLanguageModel Model, Tensor Hidden) dense, (CausalLanguageModel Model, Tensor Hidden) pruned, CalibrationBatch batch, double scale)
    {
        using var scope = NewDisposeScope();
        Tensor leaf = pruned.Hidden.detach().requires_grad_(true);
        double sum = Pieces(batch.SelectTokens(dense.Hidden), batch.SelectTokens(leaf), dense.Model, (teacher, student) =>
        {
            Tensor expected;
            using (no_grad())
            {
                expected = LogProbabilities(dense.Model, teacher);
            }

            Tensor loss = (expected.exp() * (expected - LogProbabilities(pruned.Model, student))).sum();
            loss.Times(scale).backward();
            return loss.item<float>();
        });
        return (sum, leaf.grad!.MoveToOuterDisposeScope());
    }

    private static Tensor LogProbabilities(CausalLanguageModel model, Tensor hidden) =>
        nn.functional.log_softmax(model.Head(hidden).to(float32), -1);

    private static double Pieces(Tensor dense, Tensor pruned, CausalLanguageModel model, Func<Tensor, Tensor, double> work)
    {
        long count = dense.shape[0];
        long piece = Math.Max(1, LogitsAtATime / model.Configuration.VocabularySize);
        double sum = 0;
        for (long start = 0; start < count; start += piece)
        {
            using var scope = NewDisposeScope();
            long length = Math.Min(piece, count - start);
            sum += work(dense.narrow(0, start, length), pruned.narrow(0, start, length));
        }

        return sum;
    }
}
