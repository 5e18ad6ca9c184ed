using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores.Patterns;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One exact sweep over every group in the core: each gets the best of all its masks (six for 2:4) with optimal values while all other groups stay
/// still. Costs about one gradient. Without noise it never raises the loss. Blocks of A that do not touch run in parallel; the result does not
/// depend on the number of threads. On the CPU it runs in SIMD code of its own, elsewhere as tensor operations.
/// </summary>
public sealed class ExactSweep : ISparseCoreSelector, IDisposable
{
    // Rounded to float32, a Q of outlier inputs can have negative eigenvalues, and steps that only ever grow.
    private const double GramRidge = 1e-6;

    private readonly HessianBlocks hessians = new();

    /// <summary>The number of lanes, for tests; <see langword="null"/>: the widest that the hardware has and the blocks fill.</summary>
    internal int? Lanes { get; init; }

    /// <summary>Whether to use tensor operations on the CPU too, for tests.</summary>
    internal bool Batched { get; init; }

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        using var scope = NewDisposeScope();
        long unit = CoreSystems.Unit(factorization, context.Pattern);
        Tensor core = factorization.Core.clone();
        using SweepOutput? output = Prepare(factorization, context);
        if (context.Loss.CouplesBlocks(unit))
        {
            SweepCoupled(factorization, context, output, core, unit);
        }
        else
        {
            SweepSeparable(factorization, context, output, core, unit);
        }

        factorization.Core = core;
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose() => hessians.Dispose();

    /// <summary>The row side of sweeps, for as long as A stays the same; <see langword="null"/> where tensor operations do the sweep.</summary>
    internal SweepOutput? Prepare(ArmorFactorization factorization, StepContext context)
    {
        if (Batched || factorization.Core.device_type != DeviceType.CPU)
        {
            BatchedSweep.Check(context.Pattern);
            return null;
        }

        using var scope = NewDisposeScope();
        return new SweepOutput(factorization.Rows, factorization.OutputBlocks, CoreSystems.OutputGram(factorization), Lanes);
    }

    /// <summary>Sweeps one strip from its residual: G = Aᵀ·(E·H)·Bᵀ − P·Δ·Q.</summary>
    /// <param name="factorization">Holds B.</param>
    /// <param name="context">Seed, noise and means.</param>
    /// <param name="output">The row side, from <see cref="Prepare"/>.</param>
    /// <param name="residual">(E·H) of the strip [d_out, count].</param>
    /// <param name="hessian">H's block of the strip [count, count].</param>
    /// <param name="first">The strip's first column.</param>
    /// <param name="core">The whole core, changed in place.</param>
    internal static void SweepStrip(
        ArmorFactorization factorization, StepContext context, SweepOutput? output, Tensor residual, Tensor hessian, long first, Tensor core)
    {
        using var scope = NewDisposeScope();
        Tensor q = CoreSystems.InputGram(factorization, hessian.unsqueeze(0), first);
        if (output is null)
        {
            Tensor part = core.narrow(1, first, hessian.shape[0]);
            Tensor projected = CoreSystems.Project(factorization, residual, first, hessian.shape[0]);
            part.copy_(BatchedSweep.Sweep(context, projected, CoreSystems.OutputGram(factorization), q, part));
            return;
        }

        Tensor? m = CoreSystems.InputBlocks(factorization, first, hessian.shape[0])?.transpose(1, 2);
        Sweep(factorization, context, output, residual, m, q, first, true, core);
    }

    /// <summary>Sweeps a strip from its residual in the core's own terms: G = X·M − P·Δ·Q.</summary>
    /// <param name="context">Seed, noise and means.</param>
    /// <param name="output">P of the rows, without A.</param>
    /// <param name="gradient">X = Aᵀ·(G·E·H) [rows, width].</param>
    /// <param name="m">M = Bᵀ by blocks; <see langword="null"/> for the identity.</param>
    /// <param name="q">Q [1, width, width].</param>
    /// <param name="first">The strip's first column.</param>
    /// <param name="core">The rows of the core [rows, d_in], changed in place.</param>
    internal static void SweepRows(StepContext context, SweepOutput output, Tensor gradient, Tensor? m, Tensor q, long first, Tensor core)
    {
        using var scope = NewDisposeScope();
        Sweep(null, context, output, gradient, m, q, first, true, core);
    }

    // G = Aᵀ·W·(H·Bᵀ) − P·S·Q
    private void SweepSeparable(ArmorFactorization factorization, StepContext context, SweepOutput? output, Tensor core, long width)
    {
        Tensor own = hessians.Of(context.Loss, factorization.Columns, width);
        Tensor q = CoreSystems.InputGram(factorization, own, 0);
        if (output is null)
        {
            Tensor error = context.Target - factorization.Product();
            Tensor residual = CoreSystems.Project(
                factorization, context.Loss.MultiplyHessian(error, 0, factorization.Columns), 0, factorization.Columns);
            core.copy_(BatchedSweep.Sweep(context, residual, CoreSystems.OutputGram(factorization), q, core));
            return;
        }

        Tensor m = factorization.InputBlocks is { } b ? bmm(own, b.transpose(1, 2)) : own;
        Sweep(factorization, context, output, context.Target, m, q, 0, false, core);
    }

    private static void SweepCoupled(ArmorFactorization factorization, StepContext context, SweepOutput? output, Tensor core, long unit)
    {
        Tensor error = context.Target - factorization.Product();
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, unit))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor old = core.narrow(1, first, count).clone();
            SweepStrip(
                factorization, context, output, context.Loss.MultiplyHessian(error, first, count), context.Loss.HessianBlock(first, count), first, core);
            Tensor moved = BlockDiagonalProduct.Right(core.narrow(1, first, count) - old, CoreSystems.InputBlocks(factorization, first, count));
            error.narrow(1, first, count).sub_(factorization.MultiplyOutput(moved.contiguous()));
        }
    }

    private static unsafe void Sweep(
        ArmorFactorization? factorization, StepContext context, SweepOutput output, Tensor x, Tensor? m, Tensor q, long first, bool fromChanges, Tensor core)
    {
        if (context.Pattern != SparsityPattern.TwoFour)
        {
            SweepPattern(factorization, context, output, x, m, q, first, fromChanges, core);
            return;
        }

        x = x.contiguous();
        m = m?.contiguous();
        q = q.contiguous();
        using var task = new SweepTask(output, q, m)
        {
            X = CoreSystems.Pointer(x),
            StrideX = x.shape[1],
            S = CoreSystems.Pointer(core) + first,
            StrideS = core.shape[1],
            FromChanges = fromChanges,
            FirstColumn = first,
            Seed = context.Seed,
            Noise = context.Noise,
        };
        SweepSchedule.Run(task, context.MaxDegreeOfParallelism, context.CancellationToken);
        GC.KeepAlive((x, q, core));
    }

    // Patterns other than 2:4.
    private static void SweepPattern(
        ArmorFactorization? factorization, StepContext context, SweepOutput output, Tensor x, Tensor? m, Tensor q, long first, bool fromChanges, Tensor core)
    {
        q = q.Plus(diag_embed(q.diagonal(dim1: 1, dim2: 2).Times(GramRidge))).contiguous();
        long width = q.shape[1];
        Tensor r = BlockDiagonalProduct.ColumnBlocks(BlockDiagonalProduct.Left(factorization?.OutputBlocks?.transpose(1, 2), BlockDiagonalProduct.Right(x, m).contiguous()), width);
        Tensor t = fromChanges ? zeros_like(r) : bmm(BlockDiagonalProduct.ColumnBlocks(core.narrow(1, first, q.shape[0] * width), width), q);
        PatternSweep.Run(q, r, t, output.Gram, core, first, context);
    }
}
