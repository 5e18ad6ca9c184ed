using Armor.Core.Pruning;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.PublicApi.Tests;

/// <summary>
/// A user's core selector: moves the core along its negative gradient and keeps the two largest of each four (iterative hard thresholding).
/// It may raise the loss: keeping the best state is the pruner's work.
/// </summary>
internal sealed class ProjectedGradientSelector(double step) : ISparseCoreSelector
{
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        Tensor error = context.Target - factorization.Product();
        Tensor product = context.Loss.MultiplyHessian(error, 0, factorization.Columns);
        Tensor descent = factorization.MultiplyInputTransposed(factorization.MultiplyOutputTransposed(product));
        Tensor scale = context.Loss.HessianBlock(0, factorization.Columns).diagonal().max();
        Tensor groups = (factorization.Core + (descent * step / scale)).reshape(-1, 4);
        (_, Tensor largest) = groups.abs().topk(2, 1);
        Tensor mask = zeros_like(groups).scatter(1, largest, ones_like(groups));
        factorization.Core = (groups * mask).reshape(factorization.Core.shape);
    }
}
