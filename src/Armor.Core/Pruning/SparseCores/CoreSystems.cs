using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>What core selectors share: the Gram matrices on both sides of S and raw access to tensors.</summary>
internal static class CoreSystems
{
    /// <summary>Columns that belong together: a block of B, or a group where B is the identity.</summary>
    public static long Unit(ArmorFactorization factorization, SparsityPattern pattern) =>
        Math.Max(pattern.Group, factorization.InputBlockSize);

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
    /// <param name="factorization">Holds B.</param>
    /// <param name="hessians">H's diagonal blocks of the strips, [count / width, width, width].</param>
    /// <param name="first">The first column.</param>
    public static Tensor InputGram(ArmorFactorization factorization, Tensor hessians, long first)
    {
        long width = hessians.shape[1];
        if (InputBlocks(factorization, first, hessians.shape[0] * width) is not { } blocks)
        {
            return hessians;
        }

        using var scope = NewDisposeScope();
        if (blocks.shape[1] == width)
        {
            return bmm(bmm(blocks, hessians), blocks.transpose(1, 2)).MoveToOuterDisposeScope();
        }

        // A strip of several blocks: B is block diagonal within it.
        Tensor[] strips = [.. Enumerable.Range(0, (int)hessians.shape[0]).Select(strip =>
        {
            Tensor own = blocks.narrow(0, strip * width / blocks.shape[1], width / blocks.shape[1]);
            return BlockDiagonalProduct.Right(BlockDiagonalProduct.Left(own, hessians[strip]), own.transpose(1, 2));
        })];
        return stack(strips).MoveToOuterDisposeScope();
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
