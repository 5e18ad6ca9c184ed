using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Benchmarks.Pruning;

/// <summary>
/// A weight and input mean squares with the traits of a trained linear: heavy tails, a low-rank part with a power-law spectrum, rows and columns
/// of different scale, outlier columns and outlier inputs.
/// </summary>
internal static class SyntheticWeight
{
    public static (Tensor Weight, Tensor MeanSquares) Create(int rows, int columns, long seed)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator((ulong)seed);
        Tensor normal(params long[] shape) => randn(shape, generator: generator);

        // Student's t with 5 degrees of freedom: a normal over the root of a chi-square over its degrees.
        Tensor chi = zeros(rows, columns);
        for (int i = 0; i < 5; i++)
        {
            chi.add_(normal(rows, columns).square());
        }

        Tensor weight = normal(rows, columns) / (chi / 5).sqrt() * 0.7;
        int rank = Math.Max(8, rows / 32);
        Tensor spectrum = 2 * arange(1, rank + 1, dtype: float32).pow(-0.5);
        Tensor lowRank = (normal(rows, rank) * spectrum).matmul(normal(rank, columns)) / spectrum.square().sum().sqrt();
        weight = (weight + (lowRank * 0.6)) * (0.25 * normal(rows, 1)).exp() * (0.15 * normal(1, columns)).exp();
        Tensor outliers = randperm(columns, generator: generator)[TensorIndex.Slice(0, Math.Max(2, columns / 200))];
        weight.index_copy_(1, outliers, weight.index_select(1, outliers) * 6);

        Tensor meanSquares = (0.5 * normal(columns)).exp();
        Tensor loud = randperm(columns, generator: generator)[TensorIndex.Slice(0, Math.Max(2, columns / 256))];
        Tensor gain = 5 + (25 * rand(loud.shape[0], generator: generator));
        meanSquares.index_copy_(0, loud, meanSquares.index_select(0, loud) * gain);
        return ((weight * 0.02).contiguous().MoveToOuterDisposeScope(), meanSquares.MoveToOuterDisposeScope());
    }
}
