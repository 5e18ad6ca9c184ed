namespace Armor.Core.Pruning;

/// <summary>The loss that a stage of pruning minimises.</summary>
public enum StageLoss
{
    /// <summary>diag(h) on the NoWag-normalised weight: the paper's objective.</summary>
    NormalizedDiagonal,

    /// <summary>diag(h) on the weight itself: the layer's output error, inputs taken as uncorrelated.</summary>
    Diagonal,

    /// <summary>The whole H: the layer's output error on the calibration tokens. Needs statistics with a Hessian.</summary>
    FullHessian,

    /// <summary>
    /// The diagonal blocks of H, as large as those of B: inputs of different blocks taken as uncorrelated. Needs statistics with a Hessian.
    /// </summary>
    BlockDiagonal,
}

/// <summary>One stage of pruning: annealing cycles that keep the masks moving, then polishing cycles that converge.</summary>
public sealed record PruningStage
{
    /// <summary>The loss.</summary>
    public required StageLoss Loss { get; init; }

    /// <summary>
    /// Cycles without noise before the annealing. A few make annealing end a little lower, and bring the loss near its end within the first moments.
    /// </summary>
    public int WarmUpCycles { get; init; }

    /// <summary>Cycles with noise on the choice of masks, from full strength down to none.</summary>
    public int AnnealingCycles { get; init; }

    /// <summary>τ at the first annealing cycle: the share of a mask's gain that noise may take.</summary>
    public double AnnealingShare { get; init; } = 0.5;

    /// <summary>κ at the first annealing cycle: the bound of the noise in units of the mean loss of a group.</summary>
    public double AnnealingBound { get; init; } = 16;

    /// <summary>The momentum that annealing approaches.</summary>
    public double AnnealingMomentum { get; init; } = 0.8;

    /// <summary>Cycles without noise.</summary>
    public int PolishCycles { get; init; }

    /// <summary>The extrapolation between polishing cycles; <see langword="null"/>: none, every cycle is accepted as it comes.</summary>
    public MomentumOptions? Momentum { get; init; } = new();

    /// <summary>When to stop polishing early; <see langword="null"/>: run all cycles.</summary>
    public EarlyStopping? EarlyStopping { get; init; }

    internal bool NeedsHessian => Loss is StageLoss.BlockDiagonal or StageLoss.FullHessian;

    internal int Cycles => WarmUpCycles + AnnealingCycles + PolishCycles;

    internal IEnumerable<string> Violations()
    {
        if (WarmUpCycles < 0 || AnnealingCycles < 0 || PolishCycles < 0 || Cycles == 0)
        {
            yield return "A stage needs at least one cycle and no negative count; found " +
                $"{WarmUpCycles} warm-up, {AnnealingCycles} annealing and {PolishCycles} polishing cycles.";
        }

        if (!(AnnealingShare is >= 0 and <= 1))
        {
            yield return $"AnnealingShare must be within 0 and 1; found {AnnealingShare}.";
        }

        if (!(AnnealingBound >= 0) || !(AnnealingMomentum is >= 0 and < 1.5))
        {
            yield return $"AnnealingBound must not be negative and AnnealingMomentum within 0 and 1.5; found {AnnealingBound} and {AnnealingMomentum}.";
        }
    }
}

/// <summary>Nesterov-like extrapolation x + β(x − x_prev) with β = t/(t + Lag)·c, dropped wherever the loss rises.</summary>
public sealed record MomentumOptions
{
    /// <summary>How slowly β grows.</summary>
    public double Lag { get; init; } = 0.5;

    /// <summary>Cycles before the first extrapolation.</summary>
    public int WarmUpCycles { get; init; } = 2;

    /// <summary>The largest factor c on β; each rejection takes it a little closer to 1.</summary>
    public double Gain { get; init; } = 1.05;

    /// <summary>The share of t that is kept on a rejection.</summary>
    public double KeptOnRejection { get; init; } = 0.9;
}

/// <summary>Stops when the best loss has not improved enough for a number of cycles (the paper: 100 cycles, relative 1e-6, absolute 1e-8).</summary>
/// <param name="Patience">Cycles without an improvement.</param>
/// <param name="Relative">The least relative improvement that counts.</param>
/// <param name="Absolute">The least improvement of the relative loss that counts.</param>
public sealed record EarlyStopping(int Patience = 100, double Relative = 1e-6, double Absolute = 1e-8);
