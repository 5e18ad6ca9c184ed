namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// Improves the wrappers A and B (and, if it likes, the kept values of S, never its mask) of a factorisation. One instance serves one weight, so it
/// may keep state between steps; it is disposed afterwards where it is <see cref="IDisposable"/>.
/// </summary>
public interface IWrapperOptimizer
{
    /// <summary>Makes one step. A wrapper that is <see langword="null"/> (the identity) stays so.</summary>
    /// <param name="factorization">The factorisation, in which the new tensors are put.</param>
    /// <param name="context">Target, loss and means.</param>
    void Step(ArmorFactorization factorization, StepContext context);
}
