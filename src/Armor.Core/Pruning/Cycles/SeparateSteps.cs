using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>A core step, a wrapper step and an evaluation of the loss, each by itself: for any selector, optimiser and loss.</summary>
internal sealed class SeparateSteps(ISparseCoreSelector selector, IWrapperOptimizer wrappers) : IAlternatingCycle, IDisposable
{
    /// <inheritdoc/>
    public double Step(ArmorFactorization factorization, StepContext context)
    {
        selector.Step(factorization, context);
        wrappers.Step(factorization, context);
        using var scope = NewDisposeScope();
        return context.Loss.Value(context.Target - factorization.Product());
    }

    /// <summary>Frees selector and optimiser.</summary>
    public void Dispose()
    {
        (wrappers as IDisposable)?.Dispose();
        (selector as IDisposable)?.Dispose();
    }
}
