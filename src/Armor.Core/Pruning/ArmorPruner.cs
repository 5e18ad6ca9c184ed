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
/// <remarks>
/// A weight on another device is pruned there, as tensor operations, where the exact algorithms make a 2:4 core without parts of the caller's own; anything
/// else is done on the CPU, and noted. The statistics may lie anywhere. Under noise a device takes other random numbers than the CPU.
/// </remarks>
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
    private readonly CycleFactory cycles;

    private ArmorPruner(ArmorPrunerOptions options, ArmorPrunerParts parts, bool batched)
    {
        this.options = options;
        this.parts = parts;
        cycles = new CycleFactory(options, parts, batched);
    }

    /// <summary>Makes a pruner.</summary>
    /// <param name="options">The options; <see cref="ArmorPrunerOptions.Balanced"/> is a good start.</param>
    /// <param name="parts">Own implementations of the loss, the wrapper optimiser or the core selector, in place of those the options name.</param>
    /// <exception cref="ArgumentException">The options are not valid; the message lists every violation.</exception>
    public static ArmorPruner Create(ArmorPrunerOptions options, ArmorPrunerParts? parts = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return new ArmorPruner(options, parts ?? new ArmorPrunerParts(), false);
    }

    /// <summary>A pruner that takes the tensor operations of a device on the CPU too, for tests.</summary>
    internal static ArmorPruner CreateBatched(ArmorPrunerOptions options) => new(options, new ArmorPrunerParts(), true);

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
        CancellationToken cancellationToken = default) =>
        Prune(weight, statistics, name, gradients, blocks: null, progress, cancellationToken);

    /// <summary>As the public method, with wrappers of given sizes in place of those that the options name.</summary>
    internal PrunedWeight Prune(
        Tensor weight,
        ActivationStatistics statistics,
        string name,
        GradientStatistics? gradients,
        BlockSizes? blocks,
        IProgress<PruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(statistics);
        ArgumentNullException.ThrowIfNull(name);
        PruningInput.Check(weight, statistics, gradients, name, options.Pattern);

        long started = Stopwatch.GetTimestamp();
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        List<string> notes = [];
        using var input = PruningInput.Of(weight, statistics, Place(weight, notes), notes);
        var run = new WeightRun(input.Weight, input.Statistics, UsesGradients ? gradients : null, name, notes, progress, cancellationToken);
        PrunedWeight result = options.Method switch
        {
            PruningMethod.Armor => Factorize(run, blocks ?? BlockSizes.For(options, weight.shape[0], weight.shape[1]), options.Stages),
            PruningMethod.Dense24 => Factorize(run, default, [options.Dense24Stage]),
            _ => Mask(run),
        };
        return result with { Layer = input.Restore(result.Layer), Elapsed = Stopwatch.GetElapsedTime(started) };
    }

    private bool HasOwnParts => parts is not { Loss: null, WrapperOptimizer: null, CoreSelector: null };

    // Steps of the caller's own know of H only.
    private bool UsesGradients => options.UsesGradients && !HasOwnParts;

    // Other patterns and selectors have code for the CPU only, and a caller's parts may.
    private Device Place(Tensor weight, List<string> notes)
    {
        bool anywhere = options is { Method: PruningMethod.Armor or PruningMethod.Dense24, WrapperAlgorithm: WrapperAlgorithm.LeastSquares }
            && options.CoreAlgorithm == CoreAlgorithm.ExactSweep && options.Pattern == SparsityPattern.TwoFour && !HasOwnParts;
        if (anywhere || weight.device_type == DeviceType.CPU)
        {
            return weight.device;
        }

        notes.Add($"The weight lies on {weight.device} and was pruned on the CPU: elsewhere only the exact algorithms can, on 2:4.");
        return CPU;
    }

    // The plain baselines; their loss is the layer's output error under the best Hessian at hand.
    private PrunedWeight Mask(WeightRun run)
    {
        (Tensor pruned, double damping) = BaselineMethod.Prune(run, options);
        StageLoss measure = run.Statistics.Hessian is null ? StageLoss.Diagonal : StageLoss.FullHessian;
        using PruningFrame frame = Frame(run, run.Weight, measure, 1, damping);
        using var factorization = new ArmorFactorization(pruned, null, null);
        using var start = new ArmorFactorization(LargestMask.NoWagP(run.Weight, run.Statistics.Diagonal, options.Pattern), null, null);
        return new PrunedWeight(
            LayerFolding.ToLayer(factorization, options.Pattern), frame.RelativeLoss(factorization), frame.RelativeLoss(start), 0, StopReason.CyclesDone, default, run.Notes)
        {
            HessianDamping = damping,
        };
    }

    private PrunedWeight Factorize(WeightRun run, BlockSizes sizes, IReadOnlyList<PruningStage> wanted)
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
        (Tensor weight, double damping) = PruningTarget.Of(run, options, stages.Exists(stage => stage.NeedsHessian) && parts.Loss is null);
        Tensor mask = LargestMask.OfNoWagP(weight, run.Statistics.Diagonal, options.Pattern);
        ArmorFactorization? state = null;
        try
        {
            var outcome = default(StageOutcome);
            int cycles = 0;
            for (int index = 0; index < stages.Count; index++)
            {
                using PruningFrame frame = Frame(run, weight, stages[index].Loss, sizes.Input ?? options.Pattern.Group, damping);
                ArmorFactorization next = RunStage(run, frame, frame.Start(mask, sizes), state, stages[index], (index, stages.Count), out outcome);
                state?.Dispose();
                state = next;
                cycles += outcome.Cycles;
                if (index == stages.Count - 1)
                {
                    outcome = Settle(run, frame, () => frame.Start(mask, sizes), state, outcome);
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
    private static StageOutcome Settle(
        WeightRun run, PruningFrame frame, Func<ArmorFactorization> makeStart, ArmorFactorization state, StageOutcome outcome)
    {
        LayerFolding.Fold(state);
        using ArmorFactorization entered = state.Clone();
        frame.Enter(entered);
        double loss = frame.Relative(frame.Loss.Value(frame.Target - entered.ExactProduct()));
        if (loss <= outcome.StartLoss)
        {
            return outcome with { Loss = loss };
        }

        using ArmorFactorization start = makeStart();
        state.CopyFrom(start);
        frame.Leave(state);
        LayerFolding.Fold(state);
        if (!(loss <= outcome.StartLoss * (1 + LossRounding)))
        {
            run.Notes.Add("The optimised factors ended above NoWag-P; the result is NoWag-P.");
        }

        return outcome with { Loss = outcome.StartLoss };
    }

    // Runs a stage from the better of the NoWag-P start, which it takes over, and what the stages before have reached, so that no stage ends above either.
    private ArmorFactorization RunStage(
        WeightRun run, PruningFrame frame, ArmorFactorization start, ArmorFactorization? reached, PruningStage stage, (int Index, int Count) place,
        out StageOutcome outcome)
    {
        using ArmorFactorization from = start;
        double startLoss = frame.RelativeLoss(from);
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

        IAlternatingCycle cycle = cycles.Create(frame, from);
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

    private PruningFrame Frame(WeightRun run, Tensor weight, StageLoss stage, int inputBlock, double damping) =>
        parts.Loss is { } custom
            ? PruningFrame.For(weight, custom(run.Statistics))
            : PruningFrame.For(weight, run.Statistics, run.Gradients, stage, inputBlock, options with { HessianDamping = damping });

    private readonly record struct StageOutcome(double Loss, double StartLoss, int Cycles, StopReason Reason);
}
