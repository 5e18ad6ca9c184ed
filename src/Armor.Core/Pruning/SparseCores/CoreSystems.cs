using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>What core selectors share: the Gram matrices on both sides of S and raw access to tensors.</summary>
internal static class CoreSystems
{
    /// <summary>Columns that belong together: a block of B, or a group of four where B is the identity.</summary>
    public static long Unit(ArmorFactorization factorization) => Math.Max(4, factorization.InputBlockSize);

    /// <summary>P = AᵀA by blocks [d_out/b_A, b_A, b_A]; <see langword="null"/> where A is the identity.</summary>
    public static Tensor? OutputGram(ArmorFactorization factorization)
    {
        if (factorization.OutputBlocks is not { } blocks)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        return bmm(blocks.transpose(1, 2), blocks).contiguous().MoveToOuterDisposeScope();
    }

    /// <summary>Q = B·H·Bᵀ of neighbouring strips of columns, [count / width, width, width].</summary>
    public static Tensor InputGram(ArmorFactorization factorization, IProxyLoss loss, long first, long count, long width)
    {
        using var scope = NewDisposeScope();
        Tensor[] strips = [.. Enumerable.Range(0, (int)(count / width)).Select(strip => Strip(first + (strip * width)))];
        return stack(strips).contiguous().MoveToOuterDisposeScope();

        Tensor Strip(long column)
        {
            Tensor? blocks = InputBlocks(factorization, column, width);
            return BlockDiagonalProduct.Right(BlockDiagonalProduct.Left(blocks, loss.HessianBlock(column, width)), blocks?.transpose(1, 2));
        }
    }

    /// <summary>The blocks of B that meet the given columns; <see langword="null"/> where B is the identity.</summary>
    public static Tensor? InputBlocks(ArmorFactorization factorization, long first, long count) =>
        factorization.InputBlocks?.narrow(0, first / factorization.InputBlockSize, count / factorization.InputBlockSize);

    /// <summary>Aᵀ·X·Bᵀ for columns first .. first + count.</summary>
    public static Tensor Project(ArmorFactorization factorization, Tensor x, long first, long count) =>
        BlockDiagonalProduct.Right(factorization.MultiplyOutputTransposed(x), InputBlocks(factorization, first, count)?.transpose(1, 2));

    /// <summary>The memory of a contiguous CPU tensor; it does not move, and lives as long as the tensor.</summary>
    public static unsafe float* Pointer(Tensor tensor)
    {
        fixed (byte* data = tensor.bytes)
        {
            return (float*)data;
        }
    }
}
