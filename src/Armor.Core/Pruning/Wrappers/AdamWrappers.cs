using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// The paper's wrapper optimiser: one step of Adam (Kingma and Ba 2015) on A, B and the kept core values together (arXiv 2510.05528, Alg. 1;
/// learning rate 1e-4 there, for models of width 4096). Kept for parity; the loss may rise from step to step, and the pruner keeps the best state.
/// </summary>
public sealed class AdamWrappers : IWrapperOptimizer, IDisposable
{
    private const double FirstDecay = 0.9;
    private const double SecondDecay = 0.999;
    private const double Epsilon = 1e-8;

    private readonly double learningRate;
    private readonly Tensor?[] first = new Tensor?[3];
    private readonly Tensor?[] second = new Tensor?[3];
    private int steps;

    /// <summary>Makes the optimiser.</summary>
    /// <param name="learningRate">The step size, above zero.</param>
    public AdamWrappers(double learningRate = 1e-4)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(learningRate);
        this.learningRate = learningRate;
    }

    /// <summary>The paper's 1e-4 at d_in = 4096; elsewhere in proportion to the entries of a row of unit norm, 1/√d_in.</summary>
    internal static double PaperRate(long columns) => 1e-4 * Math.Sqrt(4096.0 / columns);

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        steps++;
        using var scope = NewDisposeScope();
        WrapperGradients gradients = WrapperGradients.Of(factorization, context);
        if (factorization.OutputBlocks is { } a)
        {
            factorization.OutputBlocks = a.Plus(Change(0, gradients.Output!));
        }

        if (factorization.InputBlocks is { } b)
        {
            factorization.InputBlocks = b.Plus(Change(1, gradients.Input!));
        }

        factorization.Core = factorization.Core.Plus(Change(2, gradients.Core) * factorization.Core.NonZero());
    }

    /// <summary>Frees the moments.</summary>
    public void Dispose()
    {
        foreach (Tensor? moment in first.Concat(second))
        {
            moment?.Dispose();
        }
    }

    private Tensor Change(int slot, Tensor gradient)
    {
        first[slot] ??= zeros_like(gradient).DetachFromDisposeScope();
        second[slot] ??= zeros_like(gradient).DetachFromDisposeScope();
        first[slot]!.TimesInPlace(FirstDecay).AddInPlace(gradient, 1 - FirstDecay);
        second[slot]!.TimesInPlace(SecondDecay).AddProductInPlace(gradient, gradient, 1 - SecondDecay);
        double stepSize = learningRate / (1 - Math.Pow(FirstDecay, steps));
        double correction = 1 / Math.Sqrt(1 - Math.Pow(SecondDecay, steps));
        return first[slot]!.Times(-stepSize).div(second[slot]!.sqrt().Times(correction).Plus(Epsilon));
    }
}
