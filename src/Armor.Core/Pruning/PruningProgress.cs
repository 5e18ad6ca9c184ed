namespace Armor.Core.Pruning;

/// <summary>Where the pruning of one weight stands.</summary>
/// <param name="Stage">The stage, from 0.</param>
/// <param name="Stages">The number of stages.</param>
/// <param name="Cycle">Cycles done in the stage.</param>
/// <param name="Cycles">Cycles of the stage.</param>
/// <param name="Loss">The best loss so far in this stage, relative to the loss of an all-zero weight.</param>
public readonly record struct PruningProgress(int Stage, int Stages, int Cycle, int Cycles, double Loss);

/// <summary>Why the pruning of a weight ended.</summary>
public enum StopReason
{
    /// <summary>All cycles were run.</summary>
    CyclesDone,

    /// <summary>The loss no longer improved.</summary>
    Converged,
}
