using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;

namespace Armor.Core.Pruning.Cycles;

/// <summary>Chooses how a stage's cycles are made: the default algorithms share products within a cycle; anything else goes step by step.</summary>
/// <param name="options">The algorithms.</param>
/// <param name="parts">The caller's own.</param>
/// <param name="batched">Whether to sweep by tensor operations on the CPU too, for tests.</param>
internal sealed class CycleFactory(ArmorPrunerOptions options, ArmorPrunerParts parts, bool batched)
{
    /// <summary>Makes the cycle for a stage.</summary>
    /// <param name="frame">Target and loss.</param>
    /// <param name="state">The factors, for their block sizes.</param>
    public IAlternatingCycle Create(PruningFrame frame, ArmorFactorization state)
    {
        if (parts.WrapperOptimizer is null && parts.CoreSelector is null
            && options.WrapperAlgorithm == WrapperAlgorithm.LeastSquares && options.CoreAlgorithm == CoreAlgorithm.ExactSweep)
        {
            if (frame.Loss is TwoSidedLoss twoSided)
            {
                return new CoupledCycle(twoSided) { Batched = batched };
            }

            bool couples = frame.Loss.CouplesBlocks(CoreSystems.Unit(state, options.Pattern));
            if (couples && frame.Loss is FullHessianLoss full)
            {
                return new CoupledCycle(full) { Batched = batched };
            }

            if (!couples)
            {
                return new SeparableCycle(frame.Loss.Value(frame.Target), batched);
            }
        }

        return new SeparateSteps(
            parts.CoreSelector?.Invoke() ?? CreateSelector(), parts.WrapperOptimizer?.Invoke() ?? CreateWrappers(frame.Target.shape[1]));
    }

    private IWrapperOptimizer CreateWrappers(long columns) => options.WrapperAlgorithm switch
    {
        WrapperAlgorithm.LeastSquares => new LeastSquaresWrappers(),
        WrapperAlgorithm.Adam => new AdamWrappers(options.LearningRate ?? AdamWrappers.PaperRate(columns)),
        WrapperAlgorithm.GradientDescent => new GradientDescentWrappers(),
        _ => throw new InvalidOperationException($"Unknown wrapper algorithm {options.WrapperAlgorithm}."),
    };

    private ISparseCoreSelector CreateSelector() => options.CoreAlgorithm switch
    {
        CoreAlgorithm.ExactSweep => new ExactSweep { Batched = batched },
        CoreAlgorithm.GroupByGradient => new GroupByGradient(),
        CoreAlgorithm.GroupAtRandom => new GroupAtRandom(),
        _ => throw new InvalidOperationException($"Unknown core algorithm {options.CoreAlgorithm}."),
    };
}
