using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Gradients;

/// <summary>
/// The second moment G = mean of g·gᵀ of the gradients g of the dense model's loss at the output of one linear, over the calibration tokens: which
/// errors of the output the model takes hard, and which it makes up for. Labels are drawn from the model's own predictions, so that G is a diagonal
/// block of its Fisher information (Martens and Grosse 2015, arXiv 1503.05671), and tr(G·E·H·Eᵀ) approximates twice the KL divergence from the dense
/// model that an error E of the weight causes. Immutable; owns its tensors.
/// </summary>
public sealed class GradientStatistics : IDisposable
{
    /// <summary>The most outputs that are held against each other: of a larger linear G is kept in diagonal blocks of this size.</summary>
    public const int LargestBlock = 1024;

    internal GradientStatistics(IReadOnlyList<Tensor> blocks, long tokenCount)
    {
        Blocks = [.. blocks.Select(block => block.DetachFromDisposeScope())];
        TokenCount = tokenCount;
    }

    /// <summary>The linear's number of outputs, d_out.</summary>
    public int Dimension => checked((int)Blocks.Sum(block => block.shape[0]));

    /// <summary>How many tokens the mean runs over.</summary>
    public long TokenCount { get; }

    /// <summary>G's diagonal blocks in order, float32 [n, n]; one block up to <see cref="LargestBlock"/> outputs. Do not dispose.</summary>
    public IReadOnlyList<Tensor> Blocks { get; }

    /// <summary>Statistics of a moment that the caller has measured.</summary>
    /// <param name="moment">[d_out, d_out], any floating type: the mean of g·gᵀ. Copied; entries outside the diagonal blocks are dropped.</param>
    /// <param name="tokenCount">How many tokens the mean runs over.</param>
    /// <exception cref="ArgumentException">Not a square matrix, non-finite, a negative diagonal, or a token count under 1.</exception>
    public static GradientStatistics FromMoment(Tensor moment, long tokenCount)
    {
        ArgumentNullException.ThrowIfNull(moment);
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        if (moment.dim() != 2 || moment.shape[0] != moment.shape[1] || moment.shape[0] == 0)
        {
            throw new ArgumentException($"A gradient moment is a square matrix [d_out, d_out]; found [{string.Join(", ", moment.shape)}].", nameof(moment));
        }

        if (tokenCount < 1)
        {
            throw new ArgumentException($"Statistics run over at least one token; found {tokenCount}.", nameof(tokenCount));
        }

        if (!moment.isfinite().all().item<bool>() || moment.diagonal().Negative().any().item<bool>())
        {
            throw new ArgumentException("A gradient moment is finite, and its diagonal not negative.", nameof(moment));
        }

        Tensor[] blocks = [.. BlocksOf(moment.shape[0]).Select(block =>
        {
            Tensor own = moment.narrow(0, block.First, block.Count).narrow(1, block.First, block.Count).to(float64);
            return own.Plus(own.t()).Times(0.5).to(float32);
        })];
        return new GradientStatistics(blocks, tokenCount);
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach (Tensor block in Blocks)
        {
            block.Dispose();
        }
    }

    internal static IEnumerable<(long First, long Count)> BlocksOf(long dimension)
    {
        for (long first = 0; first < dimension; first += LargestBlock)
        {
            yield return (first, Math.Min(LargestBlock, dimension - first));
        }
    }
}
