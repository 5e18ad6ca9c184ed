using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// Batched least squares with a proximal ridge: X·(G + εI) = C + ε·X₀, ε = 1e-6·trace(G)/b. The ridge pulls to the old X₀, so it never raises the
/// loss and survives rows that carry nothing. Solved in float64.
/// </summary>
internal static class ProximalSolve
{
    private const double Ridge = 1e-6;

    /// <summary>The X of X·(G + εI) = C + ε·X₀ for symmetric G; all [n, b, b]. Blocks that come out non-finite stay X₀.</summary>
    public static Tensor Right(Tensor gram, Tensor right, Tensor old)
    {
        using var scope = NewDisposeScope();
        return Left(gram, right.transpose(1, 2), old.transpose(1, 2)).transpose(1, 2).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>The X of (G + εI)·X = C + ε·X₀ for symmetric G; all [n, b, b]. Blocks that come out non-finite stay X₀.</summary>
    public static Tensor Left(Tensor gram, Tensor right, Tensor old)
    {
        using var scope = NewDisposeScope();
        (Tensor system, Tensor epsilon) = Regularised(gram);
        Tensor x = SmallSystems.Solve(system, right.to(float64).Plus(epsilon * old.to(float64))).to(old.dtype);
        Tensor usable = x.isfinite().all(2, keepdim: true).all(1, keepdim: true);
        return where(usable, x, old).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>(G + εI)⁻¹ [n, b, b] in float64.</summary>
    public static Tensor Inverse(Tensor gram)
    {
        using var scope = NewDisposeScope();
        (Tensor system, _) = Regularised(gram);
        return SmallSystems.Inverse(system).MoveToOuterDisposeScope();
    }

    private static (Tensor System, Tensor Epsilon) Regularised(Tensor gram)
    {
        long size = gram.shape[1];
        Tensor g = gram.to(float64);
        g = g.Plus(g.transpose(1, 2)).Times(0.5);
        Tensor epsilon = g.diagonal(dim1: 1, dim2: 2).sum(1).Times(Ridge / size).Plus(1e-30).view(-1, 1, 1);
        return (g.Plus(epsilon * eye(size, dtype: float64, device: g.device)), epsilon);
    }
}
