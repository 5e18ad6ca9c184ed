namespace Armor.Core.Pruning.Cycles;

/// <summary>One cycle of alternating minimisation: the core and the wrappers each improved once.</summary>
internal interface IAlternatingCycle
{
    /// <summary>Makes one cycle.</summary>
    /// <param name="factorization">The factorisation, in which the new tensors are put.</param>
    /// <param name="context">Target, loss and means.</param>
    /// <returns>The loss afterwards, by whatever the cycle has at hand: within 1e-5 of an evaluation of its own.</returns>
    double Step(ArmorFactorization factorization, StepContext context);
}
