using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>The diagonal blocks of a loss's Hessian, gathered once for as long as loss and block size stay the same.</summary>
internal sealed class HessianBlocks : IDisposable
{
    private IProxyLoss? loss;
    private Tensor? blocks;

    /// <summary>All blocks of one size, [d_in / size, size, size], float32. Owned by this cache.</summary>
    public Tensor Of(IProxyLoss wanted, long columns, long size)
    {
        if (!ReferenceEquals(loss, wanted) || blocks is null || blocks.shape[1] != size)
        {
            blocks?.Dispose();
            blocks = Gather(wanted, 0, columns, size).DetachFromDisposeScope();
            loss = wanted;
        }

        return blocks;
    }

    /// <summary>The blocks of columns first .. first + count, in the caller's dispose scope.</summary>
    public static Tensor Gather(IProxyLoss loss, long first, long count, long size)
    {
        using var scope = NewDisposeScope();
        Tensor[] all = [.. Enumerable.Range(0, (int)(count / size)).Select(block => loss.HessianBlock(first + (block * size), size))];
        return stack(all).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>Frees the blocks.</summary>
    public void Dispose() => blocks?.Dispose();
}
