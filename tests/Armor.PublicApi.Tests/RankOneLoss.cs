using Armor.Core.Calibration;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.PublicApi.Tests;

/// <summary>
/// A user's loss: H = diag(h) + λ·m·mᵀ with m = √h, inputs that count by themselves and all together. Without λ the columns are apart.
/// </summary>
internal sealed class RankOneLoss : IProxyLoss, IDisposable
{
    private readonly Tensor diagonal;
    private readonly Tensor direction;
    private readonly double strength;

    public RankOneLoss(ActivationStatistics statistics, double strength)
    {
        this.strength = strength;
        using var scope = NewDisposeScope();
        Tensor h = statistics.Diagonal + (0.01 * statistics.Diagonal.mean());
        diagonal = h.to(float32).DetachFromDisposeScope();
        direction = h.sqrt().to(float32).DetachFromDisposeScope();
    }

    public double Value(Tensor error)
    {
        using var scope = NewDisposeScope();
        Tensor wide = error.to(float64);
        double own = (wide.square() * diagonal).sum().item<double>();
        double together = wide.matmul(direction.to(float64)).square().sum().item<double>();
        return own + (strength * together);
    }

    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount)
    {
        using var scope = NewDisposeScope();
        Tensor own = error.narrow(1, firstColumn, columnCount) * diagonal.narrow(0, firstColumn, columnCount);
        Tensor together = error.matmul(direction).unsqueeze(1) * direction.narrow(0, firstColumn, columnCount);
        return (own + (together * strength)).MoveToOuterDisposeScope();
    }

    public Tensor HessianBlock(long firstColumn, long size)
    {
        using var scope = NewDisposeScope();
        Tensor part = direction.narrow(0, firstColumn, size);
        return (diagonal.narrow(0, firstColumn, size).diag() + (part.outer(part) * strength)).MoveToOuterDisposeScope();
    }

    public bool CouplesBlocks(long blockSize) => strength != 0 && blockSize < diagonal.shape[0];

    public void Dispose()
    {
        diagonal.Dispose();
        direction.Dispose();
    }
}
