using System.Diagnostics;
using System.Globalization;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Baselines;
using Armor.Core.Pruning.Cycles;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// Prunes one weight: composes a loss, a wrapper optimiser and a core selector, runs the stages of its options and returns the best factorisation
/// that it saw. It never ends above the NoWag-P start. Safe to use from several threads.
/// </summary>
/// <example>
/// <code>
/// PrunedWeight pruned = ArmorPruner.Create(ArmorPrunerOptions.Balanced).Prune(weight, statistics);
/// </code>
/// </example>
public sealed class ArmorPruner
{
    // Two evaluations of one loss in float32 agree to about this.
    private const double LossRounding = 1e-5;

    private readonly ArmorPrunerOptions options;
    private readonly ArmorPrunerParts parts;

    private ArmorPruner(ArmorPrunerOptions options, ArmorPrunerParts parts)
    {
        this.options = options;
        this.parts = parts;
    }

    /// <summary>Makes a pruner.</summary>
    /// <param name="options">The options; <see cref="ArmorPrunerOptions.Balanced"/> is a good start.</param>
    /// <param name="parts">Own implementations of the loss, the wrapper optimiser or the core selector, in place of those the options name.</param>
    /// <exception cref="ArgumentException">The options are not valid; the message lists every violation.</exception>
    public static ArmorPruner Create(ArmorPrunerOptions options, ArmorPrunerParts? parts = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return new ArmorPruner(options, parts ?? new ArmorPrunerParts());
    }

    /// <summary>Prunes a weight.</summary>
    /// <param name="weight">W [d_out, d_in], d_in whole groups of the pattern, finite, any floating type. Not changed.</param>
    /// <param name="statistics">The statistics of its inputs, of dimension d_in.</param>
    /// <param name="name">The tensor's name: part of the seed and of messages.</param>
    /// <param name="gradients">
    /// The statistics of the gradients at its outputs, of dimension d_out, by which the outputs are held against each other; or <see langword="null"/>.
    /// Used by the stages under the full Hessian where <see cref="ArmorPrunerOptions.UsesGradients"/> and no part is the caller's own.
    /// </param>
    /// <param name="progress">Told after every cycle.</param>
    /// <param name="cancellationToken">Stops between cycles and within long steps.</param>
    /// <returns>The factors and how it went.</returns>
    /// <exception cref="ArgumentException">The weight is not a finite matrix of suitable shape, or the statistics do not fit it.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; nothing is returned.</exception>
    public PrunedWeight Prune(
        Tensor weight,
        ActivationStatistics statistics,
        string name = "weight",
        GradientStatistics? gradients = null,
        IProgress<PruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(statistics);
        ArgumentNullException.ThrowIfNull(name);
        Check(weight, statistics, gradients, name, options.Pattern);

        long started = Stopwatch.GetTimestamp();
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        List<string> notes = [];
        using var input = PruningInput.Of(weight, statistics, notes);
        var run = new Run(input.Weight, input.Statistics, UsesGradients ? gradients : null, name, notes, progress, cancellationToken);
        PrunedWeight result = options.Method switch
        {
            PruningMethod.Armor => Factorize(run, BlockSizes.For(options, weight.shape[0], weight.shape[1]), options.Stages),
            PruningMethod.Dense24 => Factorize(run, default, [options.Dense24Stage]),
            _ => Mask(run),
        };
        return result with { Layer = input.Restore(result.Layer), Elapsed = Stopwatch.GetElapsedTime(started) };
    }

    // Steps of the caller's own know of H only.
    private bool UsesGradients => options.UsesGradients && parts is { Loss: null, WrapperOptimizer: null, CoreSelector: null };

    private static void Check(Tensor weight, ActivationStatistics statistics, GradientStatistics? gradients, string name, SparsityPattern pattern)
    {
        string shape = $"[{string.Join(", ", weight.shape)}]";
        if (weight.dim() != 2 || weight.shape[0] == 0 || weight.shape[1] == 0 || weight.shape[1] % pattern.Group != 0)
        {
            throw new ArgumentException($"{name}: expected a weight [d_out, d_in] with d_in a multiple of {pattern.Group}; found {shape}.", nameof(weight));
        }

        if (statistics.Dimension != weight.shape[1])
        {
            throw new ArgumentException(
                $"{name}: expected statistics of dimension {weight.shape[1]} for a weight {shape}; found {statistics.Dimension}.", nameof(statistics));
        }

        if (gradients is not null && gradients.Dimension != weight.shape[0])
        {
            throw new ArgumentException(
                $"{name}: expected gradient statistics of dimension {weight.shape[0]} for a weight {shape}; found {gradients.Dimension}.", nameof(gradients));
        }

        if (statistics.ResidualMoment is { } residual && residual.shape[0] != weight.shape[0])
        {
            throw new ArgumentException(
                $"{name}: expected a residual moment [{weight.shape[0]}, {weight.shape[1]}] for a weight {shape}; found [{string.Join(", ", residual.shape)}].",
                nameof(statistics));
        }

        using var scope = NewDisposeScope();
        long bad = weight.to(float32).isfinite().logical_not().sum().ToInt64();
        if (bad > 0)
        {
            throw new ArgumentException($"{name}: expected finite values; found {bad} that are NaN, infinite or beyond float32.", nameof(weight));
        }
    }

    // The plain baselines; their loss is the layer's output error under the best Hessian at hand.
    private PrunedWeight Mask(Run run)
    {
        Tensor weight = run.Weight;
        Tensor h = run.Statistics.Diagonal;
        double damping = options.HessianDamping;
        Tensor pruned;
        switch (options.Method)
        {
            case PruningMethod.Magnitude:
                pruned = LargestMask.Magnitude(weight, options.Pattern);
                break;
            case PruningMethod.Wanda:
                pruned = LargestMask.Wanda(weight, h, options.Pattern);
                break;
            case PruningMethod.NoWagP:
                pruned = LargestMask.NoWagP(weight, h, options.Pattern);
                break;
            case PruningMethod.SparseGpt:
                Tensor hessian = run.Statistics.Hessian
                    ?? throw new ArgumentException($"{run.Name}: SparseGPT needs statistics with a Hessian; found the diagonal only.", nameof(run));
                (pruned, damping) = SparseGpt.Prune(weight, hessian, options.HessianDamping, options.Pattern, run.CancellationToken);
                NoteDamping(run, damping);
                break;
            default:
                throw new InvalidOperationException($"Unknown method {options.Method}.");
        }

        StageLoss measure = run.Statistics.Hessian is null ? StageLoss.Diagonal : StageLoss.FullHessian;
        using PruningFrame frame = Frame(run, weight, measure, 1, damping);
        using var factorization = new ArmorFactorization(pruned, null, null);
        using var start = new ArmorFactorization(LargestMask.NoWagP(weight, h, options.Pattern), null, null);
        return new PrunedWeight(
            LayerFolding.ToLayer(factorization, options.Pattern), frame.RelativeLoss(factorization), frame.RelativeLoss(start), 0, StopReason.CyclesDone, default, run.Notes)
        {
            HessianDamping = damping,
        };
    }

    private void NoteDamping(Run run, double damping)
    {
        if (damping > options.HessianDamping)
        {
            run.Notes.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"The Hessian was not positive definite with damping {options.HessianDamping:g2}; {damping:g2} was needed."));
        }

        if (run.Statistics.TokenCount < run.Statistics.Dimension)
        {
            run.Notes.Add(
                $"Fewer calibration tokens ({run.Statistics.TokenCount}) than inputs ({run.Statistics.Dimension}): the Hessian is singular but for its damping.");
        }
    }

    private PrunedWeight Factorize(Run run, BlockSizes sizes, IReadOnlyList<PruningStage> wanted)
    {
        List<PruningStage> stages = [.. wanted.Where(stage => !stage.NeedsHessian || run.Statistics.Hessian is not null || parts.Loss is not null)];
        if (stages.Count == 0)
        {
            throw new ArgumentException($"{run.Name}: every stage needs a Hessian and the statistics have only its diagonal.", nameof(run));
        }

        if (stages.Count < wanted.Count)
        {
            run.Notes.Add("Stages that need the Hessian were left out: the statistics have only its diagonal.");
        }

        using var scope = NewDisposeScope();
        (Tensor weight, double damping) = Target(run, stages.Exists(stage => stage.NeedsHessian) && parts.Loss is null);
        Tensor mask = LargestMask.Largest(WeightNormalization.Of(weight).Weight.Squared() * run.Statistics.Diagonal.to(float32), options.Pattern);
        ArmorFactorization? state = null;
        try
        {
            var outcome = default(StageOutcome);
            int cycles = 0;
            for (int index = 0; index < stages.Count; index++)
            {
                using PruningFrame frame = Frame(run, weight, stages[index].Loss, sizes.Input ?? options.Pattern.Group, damping);
                using ArmorFactorization start = frame.Start(mask, sizes);
                ArmorFactorization next = RunStage(run, frame, start, state, stages[index], (index, stages.Count), out outcome);
                state?.Dispose();
                state = next;
                cycles += outcome.Cycles;
                if (index == stages.Count - 1)
                {
                    outcome = Settle(run, frame, start, state, outcome);
                }
            }

            return new PrunedWeight(LayerFolding.ToLayer(state!, options.Pattern), outcome.Loss, outcome.StartLoss, cycles, outcome.Reason, default, run.Notes)
            {
                HessianDamping = damping,
            };
        }
        finally
        {
            state?.Dispose();
        }
    }

    // Folds the last state, and measures once more what is about to be stored: should folding or rounding have lifted it above the NoWag-P start, that
    // is the result.
    private static StageOutcome Settle(Run run, PruningFrame frame, ArmorFactorization start, ArmorFactorization state, StageOutcome outcome)
    {
        LayerFolding.Fold(state);
        using ArmorFactorization entered = state.Clone();
        frame.Enter(entered);
        double loss = frame.Relative(frame.Loss.Value(frame.Target - entered.ExactProduct()));
        if (loss <= outcome.StartLoss)
        {
            return outcome with { Loss = loss };
        }

        state.CopyFrom(start);
        frame.Leave(state);
        LayerFolding.Fold(state);
        if (!(loss <= outcome.StartLoss * (1 + LossRounding)))
        {
            run.Notes.Add("The optimised factors ended above NoWag-P; the result is NoWag-P.");
        }

        return outcome with { Loss = outcome.StartLoss };
    }

    // Runs a stage from the better of the NoWag-P start and what the stages before have reached, so that no stage ends above either.
    private ArmorFactorization RunStage(
        Run run, PruningFrame frame, ArmorFactorization start, ArmorFactorization? reached, PruningStage stage, (int Index, int Count) place,
        out StageOutcome outcome)
    {
        double startLoss = frame.RelativeLoss(start);
        using ArmorFactorization from = start.Clone();
        if (reached is not null)
        {
            using ArmorFactorization entered = reached.Clone();
            frame.Enter(entered);
            if (frame.RelativeLoss(entered) < startLoss)
            {
                from.CopyFrom(entered);
            }
            else
            {
                run.Notes.Add($"Stage {place.Index + 1} ({stage.Loss}) began anew from NoWag-P: the stage before had ended above it.");
            }
        }

        IAlternatingCycle cycle = CreateCycle(frame, from);
        try
        {
            ulong seed = Seeds.Mix(Seeds.Mix(unchecked((ulong)options.Seed), run.Name), (ulong)place.Index);
            int total = stage.Cycles;
            using var loop = new AlternatingMinimisation(
                from, frame, cycle, options.Pattern, seed, options.MaxDegreeOfParallelism,
                (cycle, loss) => run.Progress?.Report(new PruningProgress(place.Index, place.Count, Math.Min(cycle, total), total, loss)),
                run.CancellationToken);
            loop.Polish(stage.WarmUpCycles, stage.Momentum, null);
            loop.Anneal(stage);
            StopReason reason = loop.Polish(stage.PolishCycles, stage.Momentum, stage.EarlyStopping);
            loop.Confirm();
            if (loop.FailedCycles > 0)
            {
                run.Notes.Add($"{loop.FailedCycles} cycles of stage {place.Index + 1} ({stage.Loss}) had no finite loss and were taken back.");
            }

            outcome = new StageOutcome(loop.BestLoss, startLoss, loop.Cycles, reason);
            ArmorFactorization result = loop.Best.Clone();
            frame.Leave(result);
            return result;
        }
        finally
        {
            (cycle as IDisposable)?.Dispose();
        }
    }

    private PruningFrame Frame(Run run, Tensor weight, StageLoss stage, int inputBlock, double damping) =>
        parts.Loss is { } custom
            ? PruningFrame.For(weight, custom(run.Statistics))
            : PruningFrame.For(weight, run.Statistics, run.Gradients, stage, inputBlock, options with { HessianDamping = damping });

    // What to come near to, and the damping with which the Hessian is positive definite.
    private (Tensor Target, double Damping) Target(Run run, bool needsHessian)
    {
        double damping = options.HessianDamping;
        Tensor? target = null;
        if (options.CrossTarget && run.Statistics.CrossMoment is { } cross)
        {
            // Its factorisation tells whether the damping is enough; where there is next to none, rounding must be thought of too.
            Tensor hessian = run.Statistics.Hessian!;
            damping = damping < HessianConditioning.LeastRaised ? HessianConditioning.PositiveDamping(hessian, damping) : damping;
            target = Solve();
            while (target is null && damping < HessianConditioning.MostDamping)
            {
                damping *= 10;
                target = Solve();
            }

            Tensor? Solve() =>
                CrossTarget.Of(run.Weight, hessian, cross, damping, run.Statistics.ResidualMoment, options.ResidualCorrection);

            run.Statistics.ReleaseCrossMoment();
            if (target is null)
            {
                run.Notes.Add("The cross target had no finite solution; the weight itself was the target.");
            }
        }

        if (target is null && needsHessian)
        {
            damping = HessianConditioning.PositiveDamping(run.Statistics.Hessian!, options.HessianDamping);
        }

        if (target is not null || needsHessian)
        {
            NoteDamping(run, damping);
        }

        return (target ?? run.Weight, damping);
    }

    // The default algorithms share products within a cycle; anything else goes step by step.
    private IAlternatingCycle CreateCycle(PruningFrame frame, ArmorFactorization state)
    {
        if (parts.WrapperOptimizer is null && parts.CoreSelector is null
            && options.WrapperAlgorithm == WrapperAlgorithm.LeastSquares && options.CoreAlgorithm == CoreAlgorithm.ExactSweep)
        {
            if (frame.Loss is TwoSidedLoss twoSided)
            {
                return new CoupledCycle(twoSided);
            }

            bool couples = frame.Loss.CouplesBlocks(CoreSystems.Unit(state, options.Pattern));
            if (couples && frame.Loss is FullHessianLoss full)
            {
                return new CoupledCycle(full);
            }

            if (!couples)
            {
                return new SeparableCycle(frame.Loss.Value(frame.Target));
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
        CoreAlgorithm.ExactSweep => new ExactSweep(),
        CoreAlgorithm.GroupByGradient => new GroupByGradient(),
        CoreAlgorithm.GroupAtRandom => new GroupAtRandom(),
        _ => throw new InvalidOperationException($"Unknown core algorithm {options.CoreAlgorithm}."),
    };

    private readonly record struct StageOutcome(double Loss, double StartLoss, int Cycles, StopReason Reason);

    private sealed record Run(
        Tensor Weight,
        ActivationStatistics Statistics,
        GradientStatistics? Gradients,
        string Name,
        List<string> Notes,
        IProgress<PruningProgress>? Progress,
        CancellationToken CancellationToken);
}
