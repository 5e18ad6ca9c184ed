using Armor.Core.Pruning;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.PublicApi.Tests;

/// <summary>A user's wrapper optimiser: a gradient step on B by autograd, halved until the loss falls. A stays as it is.</summary>
internal sealed class LineSearchWrappers : IWrapperOptimizer
{
    private const int Halvings = 30;

    private double length = 1;

    public void Step(ArmorFactorization factorization, StepContext context)
    {
        if (factorization.InputBlocks is not { } blocks)
        {
            return;
        }

        using var scope = NewDisposeScope();
        Tensor error = context.Target - factorization.Product();
        double before = context.Loss.Value(error);
        Tensor descent = Descent(factorization, context, blocks, error);
        for (int halving = 0; halving < Halvings; halving++, length /= 2)
        {
            using ArmorFactorization tried = factorization.Clone();
            tried.InputBlocks = blocks + (descent * length);
            using Tensor product = tried.Product();
            using Tensor left = context.Target - product;
            if (context.Loss.Value(left) < before)
            {
                factorization.CopyFrom(tried);
                length *= 4;
                return;
            }
        }

        length = 1;
    }

    // (A·S)ᵀ·E·H by blocks: half the negative gradient.
    private static Tensor Descent(ArmorFactorization factorization, StepContext context, Tensor blocks, Tensor error)
    {
        long count = blocks.shape[0];
        long size = blocks.shape[1];
        Tensor product = context.Loss.MultiplyHessian(error, 0, factorization.Columns);
        Tensor left = factorization.MultiplyOutput(factorization.Core).reshape(-1, count, size).permute(1, 2, 0);
        Tensor right = product.reshape(-1, count, size).transpose(0, 1);
        return left.bmm(right) / (factorization.Rows * factorization.Columns);
    }
}
