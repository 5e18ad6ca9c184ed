namespace Armor.Core.Recovery;

/// <summary>A part of recovery.</summary>
public enum RecoveryPhase
{
    /// <summary>One decoder layer after the other, each towards the dense layer's output.</summary>
    Layerwise,

    /// <summary>The whole model, towards the dense model's next-token distribution.</summary>
    EndToEnd,
}

/// <summary>Why a phase ended.</summary>
public enum RecoveryStop
{
    /// <summary>All its steps are made.</summary>
    Finished,

    /// <summary>The held-out sequences have not improved for too long.</summary>
    EarlyStop,

    /// <summary>Losses that are not finite came back at smaller rates too.</summary>
    Diverged,

    /// <summary>The phase made the held-out KL worse, and what it did was dropped.</summary>
    Rejected,
}

/// <summary>What a phase of recovery came to. KL is KL(dense‖pruned) of the next token on the held-out sequences, in nats a token, of the model as it is stored.</summary>
/// <param name="Phase">Which.</param>
/// <param name="KlBefore">The held-out KL before it.</param>
/// <param name="KlAfter">The held-out KL of the state that was kept; at most <paramref name="KlBefore"/>.</param>
/// <param name="Steps">Optimiser steps, of all layers together.</param>
/// <param name="Stop">Why it ended.</param>
/// <param name="Seconds">Wall time; of a resumed run only its own.</param>
public sealed record RecoveryPhaseReport(RecoveryPhase Phase, double KlBefore, double KlAfter, int Steps, RecoveryStop Stop, double Seconds);

/// <summary>What recovering a model came to.</summary>
public sealed record RecoveryReport
{
    /// <summary>The phases in their order.</summary>
    public required IReadOnlyList<RecoveryPhaseReport> Phases { get; init; }

    /// <summary>Sequences that were trained on.</summary>
    public required int TrainingSequences { get; init; }

    /// <summary>Sequences that were held out.</summary>
    public required int HeldOutSequences { get; init; }

    /// <summary>Parameters that were trained.</summary>
    public required long Parameters { get; init; }

    /// <summary>Anything out of the ordinary, such as a step back; as a rule empty.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Wall time of this run; a resumed run counts only its own part.</summary>
    public required double Seconds { get; init; }

    /// <summary>The held-out KL of the pruned model, nats a token.</summary>
    public double KlBefore => Phases[0].KlBefore;

    /// <summary>The held-out KL of the output, nats a token.</summary>
    public double KlAfter => Phases[^1].KlAfter;
}

/// <summary>How far recovery is.</summary>
/// <param name="Phase">The phase at work.</param>
/// <param name="Step">Steps made in the phase, of all layers together.</param>
/// <param name="Steps">The most that the phase will make.</param>
/// <param name="Layer">The layer at work in the layer-wise phase; else null.</param>
/// <param name="HeldOut">
/// The latest measurement on the held-out sequences: KL in nats a token, or the layer's output error as a share of its output, both squared.
/// </param>
/// <param name="Elapsed">Since the phase began.</param>
public sealed record RecoveryProgress(RecoveryPhase Phase, int Step, int Steps, int? Layer, double HeldOut, TimeSpan Elapsed);
