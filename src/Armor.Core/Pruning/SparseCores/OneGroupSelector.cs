using System.Runtime.Intrinsics;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores.Patterns;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The paper's core update: in each step one group in every block (i, j), for which all masks are tried with their closed solution
/// (arXiv 2510.05528, Alg. 1). Never raises the loss. How the group is chosen is left to the subclass.
/// </summary>
public abstract class OneGroupSelector : ISparseCoreSelector, IDisposable
{
    private readonly HessianBlocks hessians = new();

    /// <inheritdoc/>
    public void Step(ArmorFactorization factorization, StepContext context)
    {
        ArgumentNullException.ThrowIfNull(factorization);
        ArgumentNullException.ThrowIfNull(context);
        using var scope = NewDisposeScope();
        long unit = CoreSystems.Unit(factorization, context.Pattern);
        Tensor? gram = CoreSystems.OutputGram(factorization);
        Tensor core = factorization.Core.clone();
        Tensor error = context.Target - factorization.Product();
        long width = context.Loss.CouplesBlocks(unit) ? unit : factorization.Columns;
        for (long first = 0; first < factorization.Columns; first += width)
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var stripScope = NewDisposeScope();
            Tensor old = core.narrow(1, first, width).clone();
            Tensor residual = CoreSystems.Project(factorization, context.Loss.MultiplyHessian(error, first, width), first, width).contiguous();
            Tensor blocks = hessians.Of(context.Loss, factorization.Columns, unit).narrow(0, first / unit, width / unit);
            Tensor q = CoreSystems.InputGram(factorization, blocks, first).contiguous();
            UpdateBlocks(residual, q, gram, core, first, (int)factorization.OutputBlockSize, context);
            if (first + width < factorization.Columns)
            {
                Tensor moved = BlockDiagonalProduct.Right(
                    core.narrow(1, first, width) - old, CoreSystems.InputBlocks(factorization, first, width));
                error.narrow(1, first, width).sub_(factorization.MultiplyOutput(moved.contiguous()));
            }
        }

        factorization.Core = core;
    }

    /// <summary>Frees what was kept between steps.</summary>
    public void Dispose()
    {
        hessians.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Chooses a group of one block.</summary>
    /// <param name="gradient">−½ of the loss's gradient on the block's core values, rows of <paramref name="stride"/> floats.</param>
    /// <param name="stride">Floats from row to row.</param>
    /// <param name="rows">Rows of the block.</param>
    /// <param name="columns">Columns of the block, whole groups.</param>
    /// <param name="group">M, the columns of a group.</param>
    /// <param name="seed">This block's and step's seed.</param>
    /// <returns>The row, and the first column of the group within the block.</returns>
    private protected abstract (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, int group, ulong seed);

    private unsafe void UpdateBlocks(Tensor residual, Tensor q, Tensor? gram, Tensor core, long first, int outputBlock, StepContext context)
    {
        int width = (int)residual.shape[1];
        int unit = (int)q.shape[1];
        long columns = core.shape[1];
        int group = context.Pattern.Group;
        MaskTable masks = MaskTable.Of(context.Pattern);
        float[] room = new float[masks.CoefficientsPerGroup];
        float* g = CoreSystems.Pointer(residual);
        float* s = CoreSystems.Pointer(core) + first;
        float* p = gram is null ? null : CoreSystems.Pointer(gram);
        float* qs = CoreSystems.Pointer(q);
        fixed (float* coefficients = room)
        {
            for (int block = 0; block < residual.shape[0] / outputBlock; block++)
            {
                for (int strip = 0; strip < width / unit; strip++)
                {
                    long offset = ((long)block * outputBlock * width) + (strip * unit);
                    int length = ((outputBlock - 1) * width) + unit;
                    ulong seed = Seeds.Mix(Seeds.Mix(context.Seed, (ulong)block), (ulong)(first + (strip * unit)));
                    (int row, int column) = Choose(new ReadOnlySpan<float>(g + offset, length), width, outputBlock, unit, group, seed);
                    float diagonal = p is null ? 1 : p[((long)block * outputBlock * outputBlock) + ((long)row * outputBlock) + row];
                    if (diagonal > 1e-20f)
                    {
                        float* values = s + ((((long)block * outputBlock) + row) * columns) + (strip * unit) + column;
                        float* own = qs + ((long)strip * unit * unit) + ((long)column * unit) + column;
                        SolveGroup(masks, g + offset + ((long)row * width) + column, 1 / diagonal, own, unit, coefficients, values);
                    }
                }
            }
        }
    }

    private static unsafe void SolveGroup(MaskTable masks, float* g, float inverse, float* q, int stride, float* coefficients, float* s)
    {
        int group = masks.Pattern.Group;
        float* f = stackalloc float[GroupChoice.PaddedGroup];
        new Span<float>(f, GroupChoice.PaddedGroup).Clear();
        float kept = 0;
        for (int x = 0; x < group; x++)
        {
            float own = 0;
            for (int y = 0; y < group; y++)
            {
                own += q[(x * stride) + y] * s[y];
            }

            f[x] = (g[x] * inverse) + own;
            kept += s[x] * ((2 * f[x]) - own);
        }

        GroupInverses.Prepare(masks, q, stride, coefficients);
        Vector256<float> random = default;
        int mask = GroupChoice.Best(masks, f, coefficients, default, ref random, out float gain);

        // Near a singular Q the solution is damped: then what is there already may explain more.
        if (mask >= 0 && gain > kept)
        {
            GroupChoice.Solve(masks, mask, f, coefficients, s);
        }
    }
}

/// <summary>The norm by which <see cref="GroupByGradient"/> ranks the gradient of a group.</summary>
public enum GroupNorm
{
    /// <summary>The sum of magnitudes.</summary>
    L1,

    /// <summary>The Euclidean norm.</summary>
    L2,

    /// <summary>The largest magnitude.</summary>
    LInfinity,
}

/// <summary>Takes in each block the group with the largest gradient, or draws it with probability in proportion to the norm (paper, Sec. 3.3).</summary>
/// <param name="norm">The norm; the largest magnitude ended lowest in our runs, by a few per cent.</param>
/// <param name="greedy">The largest, instead of a draw.</param>
public sealed class GroupByGradient(GroupNorm norm = GroupNorm.LInfinity, bool greedy = false) : OneGroupSelector
{
    private protected override (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, int group, ulong seed)
    {
        double total = 0;
        (double Norm, int Row, int Column) largest = (-1, 0, 0);
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column += group)
            {
                double size = Norm(gradient.Slice((row * stride) + column, group));
                total += size;
                largest = size > largest.Norm ? (size, row, column) : largest;
            }
        }

        if (greedy || !(total > 0))
        {
            return (largest.Row, largest.Column);
        }

        double left = (Seeds.Mix(seed, 0) >> 11) * (1.0 / (1UL << 53)) * total;
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column += group)
            {
                left -= Norm(gradient.Slice((row * stride) + column, group));
                if (left < 0)
                {
                    return (row, column);
                }
            }
        }

        return (largest.Row, largest.Column);
    }

    private double Norm(ReadOnlySpan<float> group)
    {
        double sum = 0;
        double largest = 0;
        foreach (float value in group)
        {
            sum += norm == GroupNorm.L2 ? (double)value * value : Math.Abs(value);
            largest = Math.Max(largest, Math.Abs(value));
        }

        return norm switch
        {
            GroupNorm.L1 => sum,
            GroupNorm.L2 => Math.Sqrt(sum),
            GroupNorm.LInfinity => largest,
            _ => throw new InvalidOperationException($"Unknown norm {norm}."),
        };
    }
}

/// <summary>Draws in each block a group at random, all alike.</summary>
public sealed class GroupAtRandom : OneGroupSelector
{
    private protected override (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, int group, ulong seed)
    {
        int perRow = columns / group;
        int chosen = (int)(Seeds.Mix(seed, 0) % (ulong)((long)rows * perRow));
        return (chosen / perRow, chosen % perRow * group);
    }
}
