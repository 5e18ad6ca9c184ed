using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Baselines;

/// <summary>Masks of a pattern by importance, and the three baselines that are nothing but such a mask.</summary>
internal static class LargestMask
{
    /// <summary>The N largest of each M consecutive columns; of equals the first.</summary>
    /// <param name="importance">[d_out, d_in], d_in whole groups.</param>
    /// <param name="pattern">N:M.</param>
    /// <returns>A boolean mask [d_out, d_in].</returns>
    public static Tensor Largest(Tensor importance, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        Tensor groups = importance.reshape(-1, pattern.Group);
        Tensor own = groups.unsqueeze(2);
        Tensor other = groups.unsqueeze(1);
        Tensor earlier = ones(pattern.Group, pattern.Group, dtype: @bool, device: importance.device).tril(-1);
        Tensor rank = (other.gt(own) | (other.eq(own) & earlier)).sum(2);
        return rank.Below(pattern.Kept).reshape(importance.shape).MoveToOuterDisposeScope();
    }

    /// <summary>|W|.</summary>
    public static Tensor Magnitude(Tensor weight, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        return (weight * Largest(weight.abs(), pattern)).MoveToOuterDisposeScope();
    }

    /// <summary>|W|·√h (Sun et al. 2024, Wanda).</summary>
    public static Tensor Wanda(Tensor weight, Tensor meanSquares, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        return (weight * Largest(weight.abs() * meanSquares.to(float32).sqrt(), pattern)).MoveToOuterDisposeScope();
    }

    /// <summary>W̄²·h on the normalised weight (Liu et al. 2025, NoWag-P): the start of ARMOR.</summary>
    public static Tensor NoWagP(Tensor weight, Tensor meanSquares, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        var normalized = WeightNormalization.Of(weight);
        return (weight * Largest(normalized.Weight.Squared() * meanSquares.to(float32), pattern)).MoveToOuterDisposeScope();
    }
}
