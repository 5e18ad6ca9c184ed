using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// The diagonal blocks of H alone: the output error with inputs of different blocks taken as uncorrelated. Where the blocks are those of B, all
/// block columns are solved at once, as under the diagonal loss.
/// </summary>
public sealed class BlockDiagonalLoss : IProxyLoss, IDisposable
{
    private readonly Tensor blocks;
    private readonly long size;

    /// <summary>Makes the loss from the second moment of the inputs.</summary>
    /// <param name="secondMoment">H [d_in, d_in], mean of x·xᵀ.</param>
    /// <param name="blockSize">The size of the blocks, a divisor of d_in.</param>
    /// <param name="damping">Added to the diagonal, as a share of its mean.</param>
    /// <exception cref="ArgumentException">H is not square or not finite, or the block size does not divide d_in.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The damping is negative, or the block size below 1.</exception>
    public BlockDiagonalLoss(Tensor secondMoment, int blockSize, double damping)
    {
        ArgumentNullException.ThrowIfNull(secondMoment);
        ArgumentOutOfRangeException.ThrowIfLessThan(blockSize, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(damping);
        using var scope = NewDisposeScope();
        Tensor hessian = HessianConditioning.Damped(secondMoment, damping);
        long columns = hessian.shape[0];
        if (columns % blockSize != 0)
        {
            throw new ArgumentException($"The block size must divide d_in = {columns}; found {blockSize}.", nameof(blockSize));
        }

        size = blockSize;
        Tensor grid = hessian.view(columns / size, size, columns / size, size);
        blocks = grid.diagonal(dim1: 0, dim2: 2).permute(2, 0, 1).to(float32).contiguous().DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public double Value(Tensor error)
    {
        ArgumentNullException.ThrowIfNull(error);
        using var scope = NewDisposeScope();
        return Math.Max(0, BlockDiagonalProduct.Right(error, blocks).Inner(error));
    }

    /// <inheritdoc/>
    public Tensor MultiplyHessian(Tensor error, long firstColumn, long columnCount)
    {
        ArgumentNullException.ThrowIfNull(error);
        using var scope = NewDisposeScope();
        (long block, long count, long offset) = Covering(firstColumn, columnCount);
        Tensor product = BlockDiagonalProduct.Right(error.narrow(1, block * size, count * size), blocks.narrow(0, block, count));
        return product.narrow(1, offset, columnCount).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public Tensor HessianBlock(long firstColumn, long size)
    {
        using var scope = NewDisposeScope();
        (long block, long count, long offset) = Covering(firstColumn, size);
        Tensor whole = block_diag([.. blocks.narrow(0, block, count).unbind()]);
        return whole.narrow(0, offset, size).narrow(1, offset, size).clone().MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public bool CouplesBlocks(long blockSize) => blockSize % size != 0;

    /// <summary>Frees the blocks.</summary>
    public void Dispose() => blocks.Dispose();

    // The blocks that a range of columns touches, and where in them it begins.
    private (long Block, long Count, long Offset) Covering(long first, long columns)
    {
        long block = first / size;
        return (block, ((first + columns - 1) / size) - block + 1, first - (block * size));
    }
}
