using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>Products with block-diagonal matrices that are held as their blocks [count, b, b]; a missing matrix is the identity.</summary>
internal static class BlockDiagonalProduct
{
    /// <summary>D·X for X [count·b, n].</summary>
    public static Tensor Left(Tensor? blocks, Tensor x)
    {
        if (blocks is null)
        {
            return x;
        }

        using var scope = NewDisposeScope();
        return bmm(blocks, RowBlocks(x, blocks.shape[1])).view(x.shape[0], x.shape[1]).MoveToOuterDisposeScope();
    }

    /// <summary>X·D for X [n, count·b].</summary>
    public static Tensor Right(Tensor x, Tensor? blocks)
    {
        if (blocks is null)
        {
            return x;
        }

        using var scope = NewDisposeScope();
        return FromColumnBlocks(bmm(ColumnBlocks(x, blocks.shape[1]), blocks)).MoveToOuterDisposeScope();
    }

    /// <summary>X [count·b, n] as [count, b, n]: a view where X is contiguous.</summary>
    public static Tensor RowBlocks(Tensor x, long blockSize) => x.reshape(x.shape[0] / blockSize, blockSize, x.shape[1]);

    /// <summary>X [n, count·b] as its block columns [count, n, b], contiguous.</summary>
    public static Tensor ColumnBlocks(Tensor x, long blockSize)
    {
        using var scope = NewDisposeScope();
        return x.reshape(x.shape[0], x.shape[1] / blockSize, blockSize).transpose(0, 1).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>Block columns [count, n, b] as the matrix [n, count·b].</summary>
    public static Tensor FromColumnBlocks(Tensor blocks)
    {
        using var scope = NewDisposeScope();
        return blocks.transpose(0, 1).reshape(blocks.shape[1], blocks.shape[0] * blocks.shape[2]).MoveToOuterDisposeScope();
    }
}
