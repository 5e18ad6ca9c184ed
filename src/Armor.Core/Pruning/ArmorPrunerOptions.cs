using Armor.Runtime.Factorization;

namespace Armor.Core.Pruning;

/// <summary>The ways to make a weight N:M sparse, 2:4 as a rule.</summary>
public enum PruningMethod
{
    /// <summary>A·S·B: a sparse core between block-diagonal wrappers.</summary>
    Armor,

    /// <summary>A plain sparse weight (2:4 as the name says, or any other pattern) by exact sweeps under the full Hessian, no wrappers.</summary>
    Dense24,

    /// <summary>SparseGPT (Frantar and Alistarh 2023).</summary>
    SparseGpt,

    /// <summary>NoWag-P (Liu et al. 2025).</summary>
    NoWagP,

    /// <summary>Wanda (Sun et al. 2024).</summary>
    Wanda,

    /// <summary>The largest magnitudes of each group.</summary>
    Magnitude,
}

/// <summary>Which wrappers a factorisation has.</summary>
public enum WrapperSides
{
    /// <summary>A and B.</summary>
    Both,

    /// <summary>B only: one product less at inference; twice the block size costs the same storage.</summary>
    Input,

    /// <summary>A only.</summary>
    Output,
}

/// <summary>The wrapper optimisers that come with the library.</summary>
public enum WrapperAlgorithm
{
    /// <summary>Alternating exact least squares (default).</summary>
    LeastSquares,

    /// <summary>Adam on A, B and the kept values, as in the paper.</summary>
    Adam,

    /// <summary>Sequential gradient descent with steps 1/β, as in the paper's theorem.</summary>
    GradientDescent,
}

/// <summary>The core selectors that come with the library.</summary>
public enum CoreAlgorithm
{
    /// <summary>An exact sweep over all groups (default).</summary>
    ExactSweep,

    /// <summary>One group a block, drawn in proportion to the largest entry of its gradient, as in the paper.</summary>
    GroupByGradient,

    /// <summary>One group a block, drawn at random.</summary>
    GroupAtRandom,
}

/// <summary>How a weight is pruned. Start from a preset and change what you like with <c>with</c>.</summary>
public sealed record ArmorPrunerOptions
{
    /// <summary>The default of <see cref="StorageBudget"/>: 6.25 % over plain 2:4, as blocks of 128 cost at 4096 × 4096.</summary>
    public const double DefaultStorageBudget = 0.0625;

    /// <summary>The largest block that a storage budget chooses.</summary>
    public const int LargestBudgetBlock = 128;

    /// <summary>The most masks of a pattern that exact selection tries: 4:16 has 1820, 8:16 12,870.</summary>
    public const int MostMasks = 2048;

    // Less than a thousandth in ten cycles is not worth ten more.
    private static readonly EarlyStopping Settled = new(Patience: 10, Relative: 1e-3);

    /// <summary>The paper's settings: normalised diagonal loss, Adam, one group a block by its gradient, up to 20,000 iterations.</summary>
    public static ArmorPrunerOptions Paper { get; } = new()
    {
        Preset = nameof(Paper),
        WrapperAlgorithm = WrapperAlgorithm.Adam,
        CoreAlgorithm = CoreAlgorithm.GroupByGradient,
        Stages = [new PruningStage { Loss = StageLoss.NormalizedDiagonal, PolishCycles = 20_000, Momentum = null, EarlyStopping = new EarlyStopping() }],
        CrossTarget = false,
        GradientWeighting = false,
        OrderChannels = false,
    };

    /// <summary>A good result in the least time.</summary>
    public static ArmorPrunerOptions Fast { get; } = new()
    {
        Preset = nameof(Fast),
        Stages = [Annealed(40, 12), Full(0, 20)],
    };

    /// <summary>The default: close to the best there is, still a hundred times faster than the paper's optimiser.</summary>
    public static ArmorPrunerOptions Balanced { get; } = new() { Preset = nameof(Balanced) };

    /// <summary>Longer annealing, under the full Hessian too.</summary>
    public static ArmorPrunerOptions Quality { get; } = new()
    {
        Preset = nameof(Quality),
        Stages = [Annealed(1000, 100), Full(60, 60)],
    };

    /// <summary>The name of the preset that these options started from; part of reports, without effect.</summary>
    public string Preset { get; init; } = nameof(Balanced);

    /// <summary>The method.</summary>
    public PruningMethod Method { get; init; } = PruningMethod.Armor;

    /// <summary>
    /// The pattern of the core, 2:4 by default. Exact selection tries every mask of a group: <see cref="PruningMethod.Armor"/> and
    /// <see cref="PruningMethod.Dense24"/> take patterns of at most <see cref="MostMasks"/> masks.
    /// </summary>
    public SparsityPattern Pattern { get; init; }

    /// <summary>The wrappers.</summary>
    public WrapperSides Wrappers { get; init; } = WrapperSides.Both;

    /// <summary>
    /// The block size of A and B, each the largest divisor of its dimension up to this (for B one that keeps groups whole);
    /// <see langword="null"/>: by <see cref="StorageBudget"/>.
    /// </summary>
    public int? BlockSize { get; init; }

    /// <summary>What the wrappers may add to a plain sparse weight, as a share of d_out·d_in values; used where no block size is given.</summary>
    public double StorageBudget { get; init; } = DefaultStorageBudget;

    /// <summary>The wrapper optimiser.</summary>
    public WrapperAlgorithm WrapperAlgorithm { get; init; } = WrapperAlgorithm.LeastSquares;

    /// <summary>
    /// Adam's step size; <see langword="null"/>: 1e-4·√(4096/d_in), the paper's 1e-4 at the width of its models, and in proportion to the entries of a
    /// normalised row of unit norm elsewhere.
    /// </summary>
    public double? LearningRate { get; init; }

    /// <summary>The core selector.</summary>
    public CoreAlgorithm CoreAlgorithm { get; init; } = CoreAlgorithm.ExactSweep;

    /// <summary>The stages, in order. Those that need the Hessian are left out where the statistics have none.</summary>
    public IReadOnlyList<PruningStage> Stages { get; init; } = [Steady(Annealed(150, 60)), Full(20, 20)];

    /// <summary>The stage of <see cref="PruningMethod.Dense24"/>.</summary>
    public PruningStage Dense24Stage { get; init; } = Full(40, 40);

    /// <summary>Added to the Hessian's diagonal, as a share of its mean.</summary>
    public double HessianDamping { get; init; } = 1e-2;

    /// <summary>Aim at the dense model's outputs where the statistics carry the cross moment, instead of at W itself.</summary>
    public bool CrossTarget { get; init; } = true;

    /// <summary>
    /// ρ, how much of the residual stream's error a linear that writes to it makes up for (with <see cref="CrossTarget"/>, where the statistics carry the
    /// residual moment): 0 nothing, 1 all.
    /// </summary>
    public double ResidualCorrection { get; init; } = 0.5;

    /// <summary>
    /// Hold the outputs of a weight against each other by the second moment of their gradients under the full Hessian (the loss tr(G·E·H·Eᵀ)).
    /// Pruning a model then takes one backward pass of the dense model. The exact algorithms can; the paper's leave it out.
    /// </summary>
    public bool GradientWeighting { get; init; } = true;

    /// <summary>Added to the diagonal of the gradients' second moment, as a share of its mean.</summary>
    public double GradientDamping { get; init; } = 0.05;

    /// <summary>
    /// Put the inner channels of a model's MLPs, each an output of gate and up and an input of down, in an order in which like channels share a block of
    /// the wrappers. The dense model's function stays as it is, and inference costs nothing more; a pruned MLP's weights are then not in the source's order.
    /// Without effect on a single weight, and on methods without wrappers.
    /// </summary>
    public bool OrderChannels { get; init; } = true;

    /// <summary>Whether these options make use of gradients: by wish, by algorithm and by method.</summary>
    public bool UsesGradients =>
        GradientWeighting && WrapperAlgorithm == WrapperAlgorithm.LeastSquares && CoreAlgorithm == CoreAlgorithm.ExactSweep && UsesFullHessian;

    /// <summary>The seed of all random choices, mixed with the tensor's name.</summary>
    public long Seed { get; init; }

    /// <summary>The most threads that the library's own loops use; results do not depend on it.</summary>
    public int MaxDegreeOfParallelism { get; init; } = Environment.ProcessorCount;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (BlockSize is < 1)
        {
            violations.Add($"BlockSize must be at least 1; found {BlockSize}.");
        }

        if (Method is PruningMethod.Armor or PruningMethod.Dense24 && Pattern.MaskCount > MostMasks)
        {
            violations.Add($"Pattern must have at most {MostMasks} masks for the method {Method}; {Pattern} has {Pattern.MaskCount}.");
        }

        if (!(StorageBudget is >= 0 and <= 1))
        {
            violations.Add($"StorageBudget must be within 0 and 1; found {StorageBudget}.");
        }

        if (LearningRate is { } rate && !(rate > 0))
        {
            violations.Add($"LearningRate must be above 0; found {LearningRate}.");
        }

        if (!(HessianDamping is >= 0 and <= 1))
        {
            violations.Add($"HessianDamping must be within 0 and 1; found {HessianDamping}.");
        }

        if (!(GradientDamping is >= 0 and <= 1))
        {
            violations.Add($"GradientDamping must be within 0 and 1; found {GradientDamping}.");
        }

        if (!(ResidualCorrection is >= 0 and <= 1))
        {
            violations.Add($"ResidualCorrection must be within 0 and 1; found {ResidualCorrection}.");
        }

        if (MaxDegreeOfParallelism < 1)
        {
            violations.Add($"MaxDegreeOfParallelism must be at least 1; found {MaxDegreeOfParallelism}.");
        }

        if (Stages is null || Stages.Count == 0)
        {
            violations.Add("Stages must have at least one stage.");
        }
        else
        {
            violations.AddRange(Stages.SelectMany(stage => stage.Violations()));
        }

        violations.AddRange(Dense24Stage.Violations());
        if (violations.Count > 0)
        {
            throw new ArgumentException("The pruner's options are not valid:" + Environment.NewLine + string.Join(Environment.NewLine, violations));
        }
    }

    internal bool UsesFullHessian => Method switch
    {
        PruningMethod.Armor => Stages.Any(stage => stage.Loss == StageLoss.FullHessian),
        PruningMethod.Dense24 => Dense24Stage.Loss == StageLoss.FullHessian,
        _ => false,
    };

    // At this length gentler noise and less momentum end no higher on any weight, and much lower where the inputs' diagonal has a wide range.
    private static PruningStage Steady(PruningStage stage) => stage with { WarmUpCycles = 25, AnnealingBound = 12, AnnealingMomentum = 0.7 };

    private static PruningStage Annealed(int annealing, int polish) =>
        new() { Loss = StageLoss.Diagonal, WarmUpCycles = 20, AnnealingCycles = annealing, PolishCycles = polish, EarlyStopping = Settled };

    // Under the full Hessian the start is good already: gentler noise, and momentum that starts over when it fails.
    private static PruningStage Full(int annealing, int polish) => new()
    {
        Loss = StageLoss.FullHessian,
        AnnealingCycles = annealing,
        AnnealingShare = 0.2,
        AnnealingMomentum = 0.5,
        PolishCycles = polish,
        Momentum = new MomentumOptions { Gain = 1, KeptOnRejection = 0 },
    };
}
