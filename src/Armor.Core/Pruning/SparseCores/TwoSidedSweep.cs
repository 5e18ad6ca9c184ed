using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The exact sweep under L(E) = tr(G·E·H·Eᵀ), where G couples the rows: strips of columns in order as under any full Hessian, and within them strips
/// of rows in order. All of a row strip is one block to the kernel, with P = Aᵀ·G·A, so that every row knows of the changes above it.
/// </summary>
internal static class TwoSidedSweep
{
    /// <summary>Sweeps all groups.</summary>
    /// <param name="factorization">The state; not changed.</param>
    /// <param name="context">Its loss has an output Hessian.</param>
    /// <param name="core">A copy of the core; updated.</param>
    /// <param name="sweep">Sweeps the rows of a tile as one block.</param>
    public static void Step(ArmorFactorization factorization, StepContext context, Tensor core, Action<SweepTile> sweep)
    {
        using var scope = NewDisposeScope();
        OutputHessian g = context.Loss.OutputHessian!;
        (long First, long Count)[] rowStrips = [.. ColumnStrips.Of(factorization.Rows, factorization.OutputBlockSize)];
        Tensor[] grams = [.. rowStrips.Select(rows => Gram(factorization, g, rows.First, rows.Count))];
        Tensor error = context.Target - factorization.Product();
        foreach ((long first, long width) in ColumnStrips.Of(factorization.Columns, CoreSystems.Unit(factorization)))
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor? blocks = CoreSystems.InputBlocks(factorization, first, width);
            Tensor own = context.Loss.HessianBlock(first, width);
            Tensor q = CoreSystems.InputGram(factorization, own.unsqueeze(0), first).contiguous();
            Tensor gradient = g.Multiply(context.Loss.MultiplyHessian(error, first, width));
            for (int index = 0; index < rowStrips.Length; index++)
            {
                using var tileScope = NewDisposeScope();
                (long row, long height) = rowStrips[index];
                Tensor? a = OutputBlocks(factorization, row, height);
                Tensor x = BlockDiagonalProduct.Left(a?.transpose(1, 2), gradient.narrow(0, row, height));
                x = BlockDiagonalProduct.Right(x, blocks?.transpose(1, 2)).contiguous();
                Tensor old = core.narrow(0, row, height).narrow(1, first, width);
                Tensor tile = old.clone().contiguous();
                sweep(new SweepTile(tile, x, q, grams[index], row, first));

                Tensor moved = BlockDiagonalProduct.Left(a, BlockDiagonalProduct.Right(tile - old, blocks).contiguous());
                old.copy_(tile);
                error.narrow(0, row, height).narrow(1, first, width).sub_(moved);
                g.SubtractBelow(gradient, moved.matmul(own), row);
            }
        }
    }

    // Aᵀ·G·A of a strip of rows.
    private static Tensor Gram(ArmorFactorization factorization, OutputHessian g, long first, long count)
    {
        using var scope = NewDisposeScope();
        Tensor own = g.Block(first, count);
        Tensor? a = OutputBlocks(factorization, first, count);
        Tensor gram = BlockDiagonalProduct.Right(BlockDiagonalProduct.Left(a?.transpose(1, 2), own), a);
        return gram.contiguous().unsqueeze(0).MoveToOuterDisposeScope();
    }

    private static Tensor? OutputBlocks(ArmorFactorization factorization, long first, long count) =>
        factorization.OutputBlocks?.narrow(0, first / factorization.OutputBlockSize, count / factorization.OutputBlockSize);
}

/// <summary>A strip of rows in a strip of columns.</summary>
/// <param name="Core">The part of the core that is swept [rows, width], contiguous.</param>
/// <param name="Residual">Aᵀ·(G·E·H)·Bᵀ [rows, width].</param>
/// <param name="InputGram">Q [1, width, width].</param>
/// <param name="OutputGram">P [1, rows, rows].</param>
/// <param name="FirstRow">The first row in the weight.</param>
/// <param name="FirstColumn">The first column in the weight.</param>
internal readonly record struct SweepTile(Tensor Core, Tensor Residual, Tensor InputGram, Tensor OutputGram, long FirstRow, long FirstColumn);
