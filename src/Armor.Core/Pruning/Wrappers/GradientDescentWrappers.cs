using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// The theorem's form of the paper's optimiser: sequential gradient descent on A, then B, then the kept core values, each block with step 1/β,
/// β its local smoothness (arXiv 2510.05528, Thm. 1). Never raises the loss. Where the loss couples columns, B and S go block column by block
/// column.
/// </summary>
public sealed class GradientDescentWrappers : IWrapperOptimizer
{
    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        if (factorization.OutputBlocks is not null)
        {
            DescendOutput(factorization, context);
        }

        if (factorization.InputBlocks is not null)
        {
            DescendColumns(factorization, context, DescendInput);
        }

        DescendColumns(factorization, context, DescendCore);
    }

    private delegate void ColumnStep(ArmorFactorization factorization, StepContext context, Tensor residual, long first, long count);

    private static void DescendOutput(ArmorFactorization factorization, StepContext context)
    {
        using var scope = NewDisposeScope();
        Tensor a = factorization.OutputBlocks!;
        (Tensor gram, Tensor right) = WrapperSystems.Output(factorization, context);
        factorization.OutputBlocks = a.Plus((right - bmm(a, gram)) / Smoothness(gram));
    }

    // Separable losses: all columns at once. Coupled ones: one block column after another, the residual product made anew.
    private static void DescendColumns(ArmorFactorization factorization, StepContext context, ColumnStep step)
    {
        long unit = CoreSystems.Unit(factorization, context.Pattern);
        long width = context.Loss.CouplesBlocks(unit) ? unit : factorization.Columns;
        for (long first = 0; first < factorization.Columns; first += width)
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor error = context.Target - factorization.Product();
            step(factorization, context, context.Loss.MultiplyHessian(error, first, width), first, width);
        }
    }

    private static void DescendInput(ArmorFactorization factorization, StepContext context, Tensor residual, long first, long count)
    {
        long size = factorization.InputBlockSize;
        Tensor u = BlockDiagonalProduct.ColumnBlocks(factorization.MultiplyOutput(factorization.Core).narrow(1, first, count), size);
        Tensor transposed = u.transpose(1, 2);
        Tensor gradient = bmm(transposed, BlockDiagonalProduct.ColumnBlocks(residual, size));
        Tensor hessians = HessianBlocks.Gather(context.Loss, first, count, size);
        Tensor blocks = factorization.InputBlocks!.clone();
        blocks.narrow(0, first / size, count / size).AddInPlace(gradient / (Smoothness(bmm(transposed, u)) * Smoothness(hessians)));
        factorization.InputBlocks = blocks;
    }

    private static void DescendCore(ArmorFactorization factorization, StepContext context, Tensor residual, long first, long count)
    {
        long unit = CoreSystems.Unit(factorization, context.Pattern);
        Tensor step = CoreSystems.Project(factorization, residual, first, count);
        Tensor q = Smoothness(CoreSystems.InputGram(factorization, HessianBlocks.Gather(context.Loss, first, count, unit), first)).view(1, -1).repeat_interleave(unit, 1);
        step = step / q;
        if (CoreSystems.OutputGram(factorization) is { } gram)
        {
            step = step / Smoothness(gram).view(-1, 1).repeat_interleave(factorization.OutputBlockSize, 0);
        }

        Tensor core = factorization.Core.clone();
        Tensor part = core.narrow(1, first, count);
        part.AddInPlace(step * part.NonZero());
        factorization.Core = core;
    }

    // The largest eigenvalue of each symmetric block, [n, 1, 1]; a little more, so that rounding cannot lengthen a step.
    private static Tensor Smoothness(Tensor gram)
    {
        Tensor largest = linalg.eigvalsh(gram.to(float64)).amax([1], keepdim: true).unsqueeze(2);
        return largest.Times(1 + 1e-6).AtLeast(1e-30).to(float32);
    }
}
