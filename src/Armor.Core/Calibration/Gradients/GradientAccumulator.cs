using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Gradients;

/// <summary>Sums g·gᵀ of one linear's output gradients batch by batch, in G's diagonal blocks: products in float32, sums in float64.</summary>
internal sealed class GradientAccumulator : IDisposable
{
    private readonly string name;
    private readonly (long First, long Count, Tensor Sum)[] blocks;

    /// <summary>Starts with no tokens.</summary>
    /// <param name="name">The linear, for error messages.</param>
    /// <param name="dimension">d_out.</param>
    public GradientAccumulator(string name, int dimension)
    {
        this.name = name;
        blocks = [.. GradientStatistics.BlocksOf(dimension)
            .Select(block => (block.First, block.Count, zeros(block.Count, block.Count, float64).DetachFromDisposeScope()))];
    }

    /// <summary>Adds the gradients of a batch, [..., d_out]; zeros, as at padding, count for nothing.</summary>
    /// <exception cref="CalibrationException">A gradient is NaN or infinite.</exception>
    public void Add(Tensor gradients)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        Tensor rows = gradients.detach().reshape(-1, gradients.shape[^1]).to(float32);
        if (!rows.sum(float64).isfinite().item<bool>())
        {
            throw new CalibrationException($"{name}: a gradient at its output is NaN or infinite.");
        }

        foreach ((long first, long count, Tensor sum) in blocks)
        {
            Tensor own = rows.narrow(1, first, count);
            sum.AddInPlace(own.t().mm(own).to(float64));
        }
    }

    /// <summary>The means over a number of tokens; the accumulator stays usable.</summary>
    public GradientStatistics Build(long tokenCount)
    {
        using var scope = NewDisposeScope();
        return new GradientStatistics([.. blocks.Select(block => block.Sum.Plus(block.Sum.t()).Times(0.5 / tokenCount).to(float32))], tokenCount);
    }

    /// <summary>Frees the sums.</summary>
    public void Dispose()
    {
        foreach ((_, _, Tensor sum) in blocks)
        {
            sum.Dispose();
        }
    }
}
