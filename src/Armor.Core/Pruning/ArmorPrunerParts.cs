using Armor.Core.Calibration;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;

namespace Armor.Core.Pruning;

/// <summary>
/// Own parts for an <see cref="ArmorPruner"/>; what is left <see langword="null"/> is made as the options say. Each factory is called anew for every
/// weight and stage, so an instance may keep state between steps; it is disposed afterwards where it is <see cref="IDisposable"/>.
/// </summary>
public sealed record ArmorPrunerParts
{
    /// <summary>Makes the loss, in place of those that the stages name.</summary>
    public Func<ActivationStatistics, IProxyLoss>? Loss { get; init; }

    /// <summary>Makes the wrapper optimiser.</summary>
    public Func<IWrapperOptimizer>? WrapperOptimizer { get; init; }

    /// <summary>Makes the core selector.</summary>
    public Func<ISparseCoreSelector>? CoreSelector { get; init; }
}
