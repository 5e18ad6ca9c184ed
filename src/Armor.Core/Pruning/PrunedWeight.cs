using Armor.Runtime.Factorization;

namespace Armor.Core.Pruning;

/// <summary>A pruned weight and how its pruning went.</summary>
/// <param name="Layer">The factors, float32.</param>
/// <param name="Loss">The loss at the end, relative to that of an all-zero weight: 0 is exact, 1 is nothing kept.</param>
/// <param name="StartLoss">The same loss of the NoWag-P start.</param>
/// <param name="Cycles">Cycles run.</param>
/// <param name="StopReason">Why it ended.</param>
/// <param name="Elapsed">Time taken.</param>
/// <param name="Notes">What had to be done about unusual input, one sentence each: more damping, a stage left out, a fall-back.</param>
public sealed record PrunedWeight(
    ArmorLayer Layer, double Loss, double StartLoss, int Cycles, StopReason StopReason, TimeSpan Elapsed, IReadOnlyList<string> Notes)
{
    /// <summary>The damping of the Hessian, as a share of the mean of its diagonal: the options' own, or more where that left it indefinite.</summary>
    public double HessianDamping { get; init; }
}
