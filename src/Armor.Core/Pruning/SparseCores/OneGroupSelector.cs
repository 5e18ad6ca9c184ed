using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The paper's core update: in each step one group of four in every block (i, j), for which all six masks are tried with their closed solution
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
        long unit = CoreSystems.Unit(factorization);
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
            UpdateBlocks(residual, q, gram, core, first, (int)factorization.OutputBlockSize, context.Seed);
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
    /// <param name="columns">Columns of the block, a multiple of four.</param>
    /// <param name="seed">This block's and step's seed.</param>
    /// <returns>The row, and the first column of the group within the block.</returns>
    private protected abstract (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, ulong seed);

    private unsafe void UpdateBlocks(Tensor residual, Tensor q, Tensor? gram, Tensor core, long first, int outputBlock, ulong seed)
    {
        int width = (int)residual.shape[1];
        int unit = (int)q.shape[1];
        long columns = core.shape[1];
        float* g = CoreSystems.Pointer(residual);
        float* s = CoreSystems.Pointer(core) + first;
        float* p = gram is null ? null : CoreSystems.Pointer(gram);
        float* qs = CoreSystems.Pointer(q);
        for (int block = 0; block < residual.shape[0] / outputBlock; block++)
        {
            for (int strip = 0; strip < width / unit; strip++)
            {
                long offset = ((long)block * outputBlock * width) + (strip * unit);
                int length = ((outputBlock - 1) * width) + unit;
                ulong blockSeed = Seeds.Mix(Seeds.Mix(seed, (ulong)block), (ulong)(first + (strip * unit)));
                (int row, int column) = Choose(new ReadOnlySpan<float>(g + offset, length), width, outputBlock, unit, blockSeed);
                float diagonal = p is null ? 1 : p[((long)block * outputBlock * outputBlock) + ((long)row * outputBlock) + row];
                if (diagonal > 1e-20f)
                {
                    float* values = s + ((((long)block * outputBlock) + row) * columns) + (strip * unit) + column;
                    float* block4 = qs + ((long)strip * unit * unit) + ((long)column * unit) + column;
                    SolveGroup(g + offset + ((long)row * width) + column, 1 / diagonal, block4, unit, values);
                }
            }
        }
    }

    private static unsafe void SolveGroup(float* g, float inverse, float* q, int stride, float* s)
    {
        float* f = stackalloc float[4];
        for (int x = 0; x < 4; x++)
        {
            f[x] = g[x] * inverse;
            for (int y = 0; y < 4; y++)
            {
                f[x] += q[(x * stride) + y] * s[y];
            }
        }

        float* coefficients = stackalloc float[MaskPairs.CoefficientsPerGroup];
        MaskPairs.Prepare(q, stride, 4, coefficients);
        (float Gain, int Mask, float A, float B) best = (float.NegativeInfinity, -1, 0, 0);
        for (int mask = 0; mask < MaskPairs.Count; mask++)
        {
            float fa = f[MaskPairs.First[mask]];
            float fb = f[MaskPairs.Second[mask]];
            float ab = coefficients[MaskPairs.Count + mask];
            float a = (coefficients[mask] * fa) + (ab * fb);
            float b = (coefficients[(2 * MaskPairs.Count) + mask] * fb) + (ab * fa);
            float gain = (a * fa) + (b * fb);
            if (gain > best.Gain)
            {
                best = (gain, mask, a, b);
            }
        }

        if (best.Mask < 0)
        {
            return;
        }

        new Span<float>(s, 4).Clear();
        s[MaskPairs.First[best.Mask]] = best.A;
        s[MaskPairs.Second[best.Mask]] = best.B;
    }
}

/// <summary>The norm by which <see cref="GroupByGradient"/> ranks the gradient of a group of four.</summary>
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
    private protected override (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, ulong seed)
    {
        double total = 0;
        (double Norm, int Row, int Column) largest = (-1, 0, 0);
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column += 4)
            {
                double size = Norm(gradient.Slice((row * stride) + column, 4));
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
            for (int column = 0; column < columns; column += 4)
            {
                left -= Norm(gradient.Slice((row * stride) + column, 4));
                if (left < 0)
                {
                    return (row, column);
                }
            }
        }

        return (largest.Row, largest.Column);
    }

    private double Norm(ReadOnlySpan<float> four) => norm switch
    {
        GroupNorm.L1 => Math.Abs(four[0]) + Math.Abs(four[1]) + Math.Abs(four[2]) + Math.Abs(four[3]),
        GroupNorm.L2 => Math.Sqrt((four[0] * four[0]) + (four[1] * four[1]) + (four[2] * four[2]) + (four[3] * four[3])),
        GroupNorm.LInfinity => Math.Max(Math.Max(Math.Abs(four[0]), Math.Abs(four[1])), Math.Max(Math.Abs(four[2]), Math.Abs(four[3]))),
        _ => throw new InvalidOperationException($"Unknown norm {norm}."),
    };
}

/// <summary>Draws in each block a group at random, all alike.</summary>
public sealed class GroupAtRandom : OneGroupSelector
{
    private protected override (int Row, int Column) Choose(ReadOnlySpan<float> gradient, int stride, int rows, int columns, ulong seed)
    {
        int group = (int)(Seeds.Mix(seed, 0) % (ulong)((long)rows * columns / 4));
        return (group / (columns / 4), group % (columns / 4) * 4);
    }
}
