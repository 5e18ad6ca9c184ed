using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Cycles;

/// <summary>
/// A cycle under a full Hessian, with weights on the outputs (<see cref="TwoSidedLoss"/>) or without: A first, then strip after strip of columns the core
/// and B. With A held still all the rest goes in the core's own terms, around one product D = Aᵀ·G·E·H: with P = Aᵀ·G·A a change Δ of Ŵ's factor S·B takes
/// P·Δ·H off it. What a strip changes goes to the strips after it, so a cycle costs one and a half products with H instead of one for each part.
/// </summary>
/// <remarks>The loss follows from E and G·E·H and from what each part takes off it.</remarks>
internal sealed class CoupledCycle : IAlternatingCycle, IDisposable
{
    private readonly InputStrip input = new();
    private readonly FullHessianLoss inputs;
    private readonly OutputHessian? outputs;
    private readonly OutputStep output;

    public CoupledCycle(FullHessianLoss loss)
        : this(loss, null)
    {
    }

    public CoupledCycle(TwoSidedLoss loss)
        : this(loss.Inputs, loss.Outputs)
    {
    }

    private CoupledCycle(FullHessianLoss inputs, OutputHessian? outputs)
    {
        this.inputs = inputs;
        this.outputs = outputs;
        output = new OutputStep(inputs, outputs);
    }

    /// <summary>Whether to sweep by tensor operations on the CPU too, for tests.</summary>
    internal bool Batched { get; init; }

    /// <inheritdoc/>
    public double Step(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        (Tensor gradient, double value) = SolveOutput(factorization, context);
        Tensor core = factorization.Core.clone();
        Tensor? blocks = factorization.InputBlocks?.clone();
        Tensor? inverses = blocks is null ? null : input.HessianInverses(inputs, factorization.Columns, factorization.InputBlockSize);
        using var gram = new OutputGram(factorization, outputs) { Batched = Batched };
        foreach ((long first, long count) in ColumnStrips.Of(factorization.Columns, CoreSystems.Unit(factorization, context.Pattern)))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor own = gradient.narrow(1, first, count);
            Tensor hessian = inputs.HessianBlock(first, count);
            Tensor? b = CoreSystems.InputBlocks(factorization, first, count);
            Tensor part = core.narrow(1, first, count);
            Tensor old = part.clone();
            Tensor q = CoreSystems.InputGram(factorization, hessian.unsqueeze(0), first)[0];
            gram.Sweep(context, own, b, q, first, core);

            // P·Δ and P·S by one product.
            Tensor change = part - old;
            Tensor both = gram.Multiply(b is null ? change : cat([change, part], 1));
            Tensor moved = BlockDiagonalProduct.Right(both.narrow(1, 0, count), b);
            Tensor after = own - moved.matmul(hessian);
            value -= BlockDiagonalProduct.Right(change, b).Inner(own.Plus(after));
            if (b is not null)
            {
                long block = first / factorization.InputBlockSize;
                Tensor coupled = both.narrow(1, count, count);
                (Tensor added, double loss) = InputStrip.Solve(part, coupled, after, hessian, inverses!.narrow(0, block, b.shape[0]));
                blocks!.narrow(0, block, b.shape[0]).AddInPlace(added);
                moved = moved.Plus(BlockDiagonalProduct.Right(coupled, added));
                value += loss;
            }

            long next = first + count;
            if (next < factorization.Columns)
            {
                gradient.narrow(1, next, factorization.Columns - next).sub_(inputs.MultiplyStrip(moved, first, next));
            }
        }

        factorization.Core = core;
        factorization.InputBlocks = blocks;
        return Math.Max(0, value);
    }

    /// <summary>Frees what was kept between cycles.</summary>
    public void Dispose()
    {
        input.Dispose();
        output.Dispose();
    }

    // A's step; Aᵀ·G·E·H and the loss after it.
    private (Tensor Gradient, double Loss) SolveOutput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        Tensor product = factorization.Product();
        Tensor error = context.Target - product;
        Tensor residual = inputs.MultiplyHessian(error, 0, factorization.Columns);
        Tensor weighted = factorization.OutputBlocks is null
            ? outputs?.Multiply(residual) ?? residual
            : output.Solve(factorization, context, product, error, residual);
        Tensor gradient = factorization.MultiplyOutputTransposed(weighted);
        return (gradient.MoveToOuterDisposeScope(), error.Inner(weighted));
    }
}
