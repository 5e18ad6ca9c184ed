namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// Chooses which core values of each group are kept, and their values. One instance serves one weight, so it may keep state between steps; it
/// is disposed afterwards where it is <see cref="IDisposable"/>.
/// </summary>
public interface ISparseCoreSelector
{
    /// <summary>Makes one step.</summary>
    /// <param name="factorization">The factorisation, in which the new core is put.</param>
    /// <param name="context">Target, loss and means.</param>
    void Step(ArmorFactorization factorization, StepContext context);
}
