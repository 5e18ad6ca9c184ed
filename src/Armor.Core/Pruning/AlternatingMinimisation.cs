using System.Runtime.InteropServices;
using Armor.Core.Pruning.Cycles;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The loop of one stage: cycles of core and wrapper steps, with noise and momentum (annealing), then without noise (polish). Keeps the best state
/// it saw; knows nothing of how a step is made.
/// </summary>
internal sealed class AlternatingMinimisation : IDisposable
{
    // Beyond this growth of the loss in a cycle the noise was too strong: back to the best state.
    private const double BlowUp = 1.5;
    private const double CalmerAfterBlowUp = 0.7;
    private const double GainDecay = 0.99;

    // A cycle adds its loss up from what its steps take off; such a fall is rare after the first cycles, and may be rounding in a state that cancels.
    private const double Doubtful = 0.5;

    private readonly PruningFrame frame;
    private readonly IAlternatingCycle cycle;
    private readonly SparsityPattern pattern;
    private readonly ulong seed;
    private readonly int threads;
    private readonly Action<int, double> report;
    private readonly CancellationToken cancellationToken;
    private readonly ArmorFactorization start;
    private readonly double startLoss;
    private readonly ArmorFactorization best;
    private readonly ArmorFactorization current;

    public AlternatingMinimisation(
        ArmorFactorization start,
        PruningFrame frame,
        IAlternatingCycle cycle,
        SparsityPattern pattern,
        ulong seed,
        int threads,
        Action<int, double> report,
        CancellationToken cancellationToken)
    {
        this.frame = frame;
        this.cycle = cycle;
        this.pattern = pattern;
        this.seed = seed;
        this.threads = threads;
        this.report = report;
        this.cancellationToken = cancellationToken;
        this.start = start;
        current = start.Clone();
        best = start.Clone();
        startLoss = frame.RelativeLoss(start);
        BestLoss = startLoss;
    }

    /// <summary>The lowest relative loss so far.</summary>
    public double BestLoss { get; private set; }

    /// <summary>Cycles run.</summary>
    public int Cycles { get; private set; }

    /// <summary>Cycles that ended without a finite loss.</summary>
    public int FailedCycles { get; private set; }

    /// <summary>The best state; owned by this loop.</summary>
    public ArmorFactorization Best => best;

    /// <summary>Cycles with bounded noise on the masks that fades to none, and steady momentum. Ends at the best state.</summary>
    public void Anneal(PruningStage stage)
    {
        double groups = frame.Target.numel() / (double)pattern.Group;
        double loss = BestLoss;
        double strength = 1;
        int sinceRestart = 0;
        ArmorFactorization? previous = null;
        try
        {
            for (int k = 0; k < stage.AnnealingCycles; k++)
            {
                LayerFolding.Fold(current);
                ArmorFactorization before = current.Clone();
                if (previous is not null)
                {
                    Extrapolate(before, previous, stage.AnnealingMomentum * sinceRestart / (sinceRestart + 1.0));
                    previous.Dispose();
                }

                previous = before;
                double fade = (1 - ((double)k / stage.AnnealingCycles)) * strength;
                double bound = stage.AnnealingBound * fade * loss * frame.TotalLoss / groups;
                double next = Cycle(new AnnealingNoise((float)(stage.AnnealingShare * fade), (float)bound));
                sinceRestart++;
                if (!(next < BlowUp * loss))
                {
                    current.CopyFrom(best);
                    previous.Dispose();
                    previous = null;
                    strength *= CalmerAfterBlowUp;
                    loss = BestLoss;
                    sinceRestart = 0;
                    continue;
                }

                loss = next;
            }
        }
        finally
        {
            previous?.Dispose();
        }

        current.CopyFrom(best);
    }

    /// <summary>Cycles without noise; extrapolations that raise the loss are taken back. Ends at the best state.</summary>
    /// <param name="cycles">The most cycles.</param>
    /// <param name="momentum">The extrapolation, or none.</param>
    /// <param name="stopping">When to stop early, or never.</param>
    public StopReason Polish(int cycles, MomentumOptions? momentum, EarlyStopping? stopping)
    {
        double loss = BestLoss;
        double gain = momentum?.Gain ?? 1;
        int t = 0;
        int sinceImproved = 0;
        double improvedFrom = BestLoss;
        ArmorFactorization? previous = null;
        try
        {
            for (int k = 1; k <= cycles; k++)
            {
                if (momentum is not null)
                {
                    LayerFolding.Fold(current);
                }

                ArmorFactorization before = current.Clone();
                double next;
                if (momentum is not null && previous is not null && t > 0)
                {
                    Extrapolate(before, previous, t / (t + momentum.Lag) * gain);
                    next = Cycle(default);
                    if (!(next <= loss))
                    {
                        t = (int)(t * momentum.KeptOnRejection);
                        gain = Math.Max(1, gain * GainDecay);
                        current.CopyFrom(before);
                        next = Cycle(default);
                    }
                }
                else
                {
                    next = Cycle(default);
                }

                previous?.Dispose();
                previous = before;
                loss = next;
                t = momentum is not null && k >= momentum.WarmUpCycles ? t + 1 : 0;
                if (stopping is not null)
                {
                    bool improved = improvedFrom - BestLoss > Math.Max(stopping.Relative * improvedFrom, stopping.Absolute);
                    sinceImproved = improved ? 0 : sinceImproved + 1;
                    improvedFrom = improved ? BestLoss : improvedFrom;
                    if (sinceImproved >= stopping.Patience)
                    {
                        return StopReason.Converged;
                    }
                }
            }
        }
        finally
        {
            previous?.Dispose();
            current.CopyFrom(best);
        }

        return StopReason.CyclesDone;
    }

    /// <summary>
    /// Evaluates the best state by itself, for cycles tell their loss only to within rounding; where it is not below the start after all, the start is
    /// the best.
    /// </summary>
    public void Confirm()
    {
        double loss = frame.RelativeLoss(best);
        if (loss < startLoss)
        {
            BestLoss = loss;
        }
        else
        {
            best.CopyFrom(start);
            BestLoss = startLoss;
        }
    }

    /// <summary>Frees the states.</summary>
    public void Dispose()
    {
        current.Dispose();
        best.Dispose();
    }

    // One cycle; the best state is kept.
    private double Cycle(AnnealingNoise noise)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var context = new StepContext(frame.Target, frame.Loss)
        {
            Pattern = pattern,
            Step = Cycles,
            Seed = Seeds.Mix(seed, (ulong)Cycles),
            Noise = noise,
            MaxDegreeOfParallelism = threads,
            CancellationToken = cancellationToken,
        };
        double loss;
        try
        {
            loss = frame.Relative(cycle.Step(current, context));
            if (loss < Doubtful * BestLoss)
            {
                loss = frame.RelativeLoss(current);
            }
        }
        catch (ExternalException exception) when (!exception.Message.Contains("memory", StringComparison.OrdinalIgnoreCase))
        {
            // libtorch's solvers refuse a state that has overflowed.
            loss = double.PositiveInfinity;
        }

        Cycles++;
        if (!double.IsFinite(loss))
        {
            FailedCycles++;
            current.CopyFrom(best);
        }

        if (loss < BestLoss)
        {
            BestLoss = loss;
            best.CopyFrom(current);
        }

        report(Cycles, BestLoss);
        return loss;
    }

    // current = x + β(x − x_prev); core values only where both supports agree. Both states are folded: a scale that wanders between the factors would be
    // extrapolated too, and over a hundred cycles A would become singular and S enormous.
    private void Extrapolate(ArmorFactorization x, ArmorFactorization previous, double beta)
    {
        if (beta == 0)
        {
            return;
        }

        using var scope = NewDisposeScope();
        current.Core = CoreExtrapolation.Of(x.Core, previous.Core, beta, threads);
        current.OutputBlocks = x.OutputBlocks is { } a ? Extrapolated(previous.OutputBlocks!, a, 1 + beta) : null;
        current.InputBlocks = x.InputBlocks is { } b ? Extrapolated(previous.InputBlocks!, b, 1 + beta) : null;
    }

    private static Tensor Extrapolated(Tensor from, Tensor to, double share) => from.Plus((to - from).Times(share));
}
