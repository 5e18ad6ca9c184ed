using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// Fixes what a product leaves open: the scale of a row or column of S can wander freely between A, S and B. Here the columns of A and the rows of B get
/// unit norm and S takes the rest, so that states of different cycles can be compared and 16-bit storage neither overflows nor loses small values.
/// </summary>
internal static class LayerFolding
{
    /// <summary>Gives the columns of A and the rows of B unit norm.</summary>
    public static void Fold(ArmorFactorization factorization)
    {
        using var scope = NewDisposeScope();
        Tensor core = factorization.Core;
        Tensor? a = factorization.OutputBlocks;
        Tensor? b = factorization.InputBlocks;
        if (a is not null)
        {
            Tensor norms = Norms(a, 1);
            a = a / norms;
            core = core * norms.view(-1, 1);
        }

        if (b is not null)
        {
            Tensor norms = Norms(b, 2);
            b = b / norms;
            core = core * norms.view(1, -1);
        }

        factorization.Core = core;
        factorization.OutputBlocks = a;
        factorization.InputBlocks = b;
    }

    /// <summary>Packs the factors as they are.</summary>
    public static ArmorLayer ToLayer(ArmorFactorization factorization, SparsityPattern pattern)
    {
        using var scope = NewDisposeScope();
        Tensor core = factorization.Core;
        int rows = (int)core.shape[0];
        int columns = (int)core.shape[1];
        var sparse = SparseCore.FromDense(core.cpu().contiguous().data<float>().ToArray(), rows, columns, pattern);
        return new ArmorLayer(Wrapper(factorization.OutputBlocks), sparse, Wrapper(factorization.InputBlocks));
    }

    private static Tensor Norms(Tensor blocks, long dimension)
    {
        Tensor norms = blocks.to(float64).Squared().sum(dimension, keepdim: true).sqrt().to(float32);
        return where(norms.Positive(), norms, ones_like(norms));
    }

    private static BlockDiagonalMatrix? Wrapper(Tensor? blocks) => blocks is null
        ? null
        : new BlockDiagonalMatrix((int)blocks.shape[0], (int)blocks.shape[1], blocks.cpu().contiguous().data<float>().ToArray());
}
