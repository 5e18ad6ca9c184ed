using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores.Patterns;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One exact sweep over every group in the core: each gets the best of all its masks (six for 2:4) with optimal values while all other groups stay
/// still. Costs about one gradient. Without noise it never raises the loss. Blocks of A that do not touch run in parallel; the result does not
/// depend on the number of threads.
/// </summary>
public sealed class ExactSweep : ISparseCoreSelector, IDisposable
{
    // Rounded to float32, a Q of outlier inputs can have negative eigenvalues, and steps that only ever grow.
    private const double GramRidge = 1e-6;

    private readonly HessianBlocks hessians = new();

    /// <summary>The number of lanes, for tests; <see langword="null"/>: the widest that the hardware has and the blocks fill.</summary>
    internal int? Lanes { get; init; }

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        using var scope = NewDisposeScope();
        if (factorization.Core.device_type != DeviceType.CPU)
        {
            throw new NotSupportedException("The exact sweep works on CPU tensors; move the weight to the CPU first.");
        }

        Tensor? gram = CoreSystems.OutputGram(factorization);
        long unit = CoreSystems.Unit(factorization, context.Pattern);
        Tensor core = factorization.Core.clone();
        if (context.Loss.CouplesBlocks(unit))
        {
            SweepCoupled(factorization, context, gram, core, unit);
        }
        else
        {
            SweepSeparable(factorization, context, gram, core, unit);
        }

        factorization.Core = core;
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessians.Dispose();

    // G = Aᵀ·W·(H·Bᵀ) − P·S·Q
    private void SweepSeparable(ArmorFactorization factorization, StepContext context, Tensor? gram, Tensor core, long width)
    {
        Tensor own = hessians.Of(context.Loss, factorization.Columns, width);
        Tensor m = factorization.InputBlocks is { } b ? bmm(own, b.transpose(1, 2)) : own;
        Tensor q = CoreSystems.InputGram(factorization, own, 0);
        Sweep(factorization, context, new Strips(context.Target, m, q, 0, FromChanges: false), gram, core);
    }

    // G = Aᵀ·(E·H)·Bᵀ − P·Δ·Q, strip by strip
    private void SweepCoupled(ArmorFactorization factorization, StepContext context, Tensor? gram, Tensor core, long unit)
    {
        Tensor error = context.Target - factorization.Product();
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, unit))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor old = core.narrow(1, first, count).clone();
            Tensor q = CoreSystems.InputGram(factorization, context.Loss.HessianBlock(first, count).unsqueeze(0), first);
            Tensor? m = CoreSystems.InputBlocks(factorization, first, count)?.transpose(1, 2);
            Tensor residual = context.Loss.MultiplyHessian(error, first, count);
            Sweep(factorization, context, new Strips(residual, m, q, first, FromChanges: true), gram, core);

            Tensor moved = BlockDiagonalProduct.Right(core.narrow(1, first, count) - old, CoreSystems.InputBlocks(factorization, first, count));
            error.narrow(1, first, count).sub_(factorization.MultiplyOutput(moved.contiguous()));
        }
    }

    private unsafe void Sweep(ArmorFactorization factorization, StepContext context, Strips strips, Tensor? gram, Tensor core)
    {
        if (context.Pattern != SparsityPattern.TwoFour)
        {
            SweepPattern(factorization, context, strips, gram, core);
            return;
        }

        Tensor x = strips.X.contiguous();
        Tensor q = strips.Q.contiguous();
        Tensor? m = strips.M?.contiguous();
        Tensor? a = factorization.OutputBlocks?.contiguous();
        int count = (int)q.shape[0];
        int width = (int)q.shape[1];
        using var task = new SweepTask(core.shape[0], a is null ? 0 : (int)a.shape[1], count, width, Lanes)
        {
            X = CoreSystems.Pointer(x),
            StrideX = x.shape[1],
            S = CoreSystems.Pointer(core) + strips.First,
            StrideS = core.shape[1],
            FromChanges = strips.FromChanges,
            FirstColumn = strips.First,
            Seed = context.Seed,
            Noise = context.Noise,
        };
        task.PrepareOutput(a is null ? null : CoreSystems.Pointer(a), gram is null ? null : CoreSystems.Pointer(gram));
        task.PrepareInput(CoreSystems.Pointer(q), m is null ? null : CoreSystems.Pointer(m), m is null ? 0 : (int)m.shape[1]);
        SweepSchedule.Run(task, context.MaxDegreeOfParallelism, context.CancellationToken);
        GC.KeepAlive((x, q, m, a, gram, core));
    }

    // Patterns other than 2:4.
    private static void SweepPattern(ArmorFactorization factorization, StepContext context, Strips strips, Tensor? gram, Tensor core)
    {
        Tensor q = strips.Q.Plus(diag_embed(strips.Q.diagonal(dim1: 1, dim2: 2).Times(GramRidge))).contiguous();
        long width = q.shape[1];
        Tensor r = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutputTransposed(BlockDiagonalProduct.Right(strips.X, strips.M)), width);
        Tensor t = strips.FromChanges
            ? zeros_like(r)
            : bmm(BlockDiagonalProduct.ColumnBlocks(core.narrow(1, strips.First, q.shape[0] * width), width), q);
        PatternSweep.Run(q, r, t, gram, core, strips.First, context);
    }

    // X [d_out, n] beside the strips of the core that begin at column First; M and Q by strips.
    private readonly record struct Strips(Tensor X, Tensor? M, Tensor Q, long First, bool FromChanges);
}
