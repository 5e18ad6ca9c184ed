using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Baselines;

/// <summary>Masks of a pattern by importance, and the three baselines that are nothing but such a mask.</summary>
internal static class LargestMask
{
    // Every value is held against every other of its group: 24 bytes a value and more.
    private const long GroupsAtOnce = 1 << 18;

    /// <summary>The N largest of each M consecutive columns; of equals the first.</summary>
    /// <param name="importance">[d_out, d_in], d_in whole groups.</param>
    /// <param name="pattern">N:M.</param>
    /// <returns>A boolean mask [d_out, d_in].</returns>
    public static Tensor Largest(Tensor importance, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        Tensor groups = importance.reshape(-1, pattern.Group);
        Tensor mask = empty(groups.shape, dtype: @bool, device: importance.device);
        for (long first = 0; first < groups.shape[0]; first += GroupsAtOnce)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(GroupsAtOnce, groups.shape[0] - first);
            mask.narrow(0, first, count).copy_(LargestOf(groups.narrow(0, first, count), pattern));
        }

        return mask.view(importance.shape).MoveToOuterDisposeScope();
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
        return (weight * OfNoWagP(weight, meanSquares, pattern)).MoveToOuterDisposeScope();
    }

    /// <summary>The mask of <see cref="NoWagP"/>.</summary>
    public static Tensor OfNoWagP(Tensor weight, Tensor meanSquares, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        Tensor normalized = WeightNormalization.Of(weight).Weight;
        return Largest(normalized.mul_(normalized).mul_(meanSquares.to(float32)), pattern).MoveToOuterDisposeScope();
    }

    private static Tensor LargestOf(Tensor groups, SparsityPattern pattern)
    {
        Tensor own = groups.unsqueeze(2);
        Tensor other = groups.unsqueeze(1);
        Tensor earlier = ones(pattern.Group, pattern.Group, dtype: @bool, device: groups.device).tril(-1);
        Tensor rank = (other.gt(own) | (other.eq(own) & earlier)).sum(2);
        return rank.Below(pattern.Kept);
    }
}
