using Armor.Core.Calibration.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// G of a loss tr(G·E·H·Eᵀ): damped, scaled to a mean diagonal of 1, block diagonal as <see cref="GradientStatistics"/> has it. Results belong to the
/// caller's dispose scope.
/// </summary>
internal sealed class OutputHessian : IDisposable
{
    private readonly (long First, long Count, Tensor Values)[] blocks;

    /// <summary>Makes G.</summary>
    /// <param name="gradients">The statistics of the gradients at the linear's output.</param>
    /// <param name="damping">Added to the diagonal, as a share of its mean.</param>
    /// <param name="device">Where it is to lie; <see langword="null"/> for where the statistics do.</param>
    /// <exception cref="ArgumentOutOfRangeException">The damping is negative.</exception>
    public OutputHessian(GradientStatistics gradients, double damping, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentOutOfRangeException.ThrowIfNegative(damping);
        using var scope = NewDisposeScope();
        Tensor diagonal = cat([.. gradients.Blocks.Select(block => block.diagonal().to(float64))]);
        double mean = diagonal.mean().ToNumber();
        Scale = mean * (1 + damping);
        long first = 0;
        blocks = new (long, long, Tensor)[gradients.Blocks.Count];
        for (int index = 0; index < blocks.Length; index++)
        {
            Tensor block = device is null ? gradients.Blocks[index] : gradients.Blocks[index].to(device);
            long count = block.shape[0];
            Tensor identity = eye(count, dtype: float64, device: block.device);

            // Without any gradient all outputs count alike.
            Tensor scaled = mean > 0 ? block.to(float64).Over(mean).Plus(identity.Times(damping)).Over(1 + damping) : identity;
            blocks[index] = (first, count, scaled.to(float32).contiguous().DetachFromDisposeScope());
            first += count;
        }

        Dimension = first;
    }

    /// <summary>d_out.</summary>
    public long Dimension { get; }

    /// <summary>What this G times it is the damped moment of the gradients; 0 without any gradient.</summary>
    public double Scale { get; }

    /// <summary>G·X, or rows of it that are whole blocks of G.</summary>
    /// <param name="x">[n, m]: all rows, or those from the first one wanted.</param>
    /// <param name="first">The first row.</param>
    /// <returns>[n, m].</returns>
    public Tensor Multiply(Tensor x, long first = 0)
    {
        ArgumentNullException.ThrowIfNull(x);
        using var scope = NewDisposeScope();
        Tensor[] parts = [.. Meeting(first, x.shape[0]).Select(part => part.Values.matmul(x.narrow(0, part.BlockFirst - first, part.Count)))];
        return (parts.Length == 1 ? parts[0] : cat(parts)).MoveToOuterDisposeScope();
    }

    /// <summary>A sum over G's blocks of rows, which need no more memory than a block.</summary>
    /// <param name="x">[d_out, n].</param>
    /// <param name="term">Of the rows of X and of G·X that a block has.</param>
    public double Sum(Tensor x, Func<Tensor, Tensor, double> term)
    {
        double sum = 0;
        foreach ((long first, long count, Tensor values) in blocks)
        {
            using var scope = NewDisposeScope();
            Tensor own = x.narrow(0, first, count);
            sum += term(own, values.matmul(own));
        }

        return sum;
    }

    /// <summary>Rows of G·X.</summary>
    /// <param name="x">[d_out, n].</param>
    /// <param name="first">The first row wanted.</param>
    /// <param name="count">The number of rows wanted.</param>
    /// <returns>[count, n].</returns>
    public Tensor MultiplyRows(Tensor x, long first, long count)
    {
        ArgumentNullException.ThrowIfNull(x);
        using var scope = NewDisposeScope();
        return cat([.. Meeting(first, count).Select(part =>
            part.Values.narrow(0, part.From, part.Count).matmul(x.narrow(0, part.BlockFirst, part.Values.shape[0])))]).MoveToOuterDisposeScope();
    }

    /// <summary>A square block on G's diagonal.</summary>
    /// <param name="first">The block's first row and column.</param>
    /// <param name="size">The block's size.</param>
    /// <returns>[size, size].</returns>
    public Tensor Block(long first, long size)
    {
        using var scope = NewDisposeScope();
        Tensor[] parts = [.. Meeting(first, size).Select(part => part.Values.narrow(0, part.From, part.Count).narrow(1, part.From, part.Count))];
        return (parts.Length == 1 ? parts[0].clone() : block_diag(parts)).MoveToOuterDisposeScope();
    }

    /// <summary>Adds G[.. first + count, first .. first + count)·X to the rows of Y down to first + count.</summary>
    /// <param name="y">[d_out, n]; changed.</param>
    /// <param name="x">[count, n].</param>
    /// <param name="first">The first column of G that X meets.</param>
    public void AddAbove(Tensor y, Tensor x, long first)
    {
        using var scope = NewDisposeScope();
        foreach ((long blockFirst, Tensor values, long from, long count) in Meeting(first, x.shape[0]))
        {
            long down = from + count;
            Tensor own = x.narrow(0, blockFirst + from - first, count);
            y.narrow(0, blockFirst, down).AddInPlace(values.narrow(0, 0, down).narrow(1, from, count).matmul(own));
        }
    }

    /// <summary>Runs of whole blocks of G that begin and end with blocks of another size: where that cuts a block of G off, its neighbours join in.</summary>
    /// <param name="size">The other size, a divisor of d_out.</param>
    /// <returns>First row, and the ends of the run's blocks of G, by rows.</returns>
    public IEnumerable<(long First, IReadOnlyList<long> Ends)> Runs(long size)
    {
        long first = 0;
        List<long> ends = [];
        foreach ((long blockFirst, long count, _) in blocks)
        {
            ends.Add(blockFirst + count);
            if (ends[^1] % size == 0)
            {
                yield return (first, ends);
                first = ends[^1];
                ends = [];
            }
        }
    }

    /// <summary>Frees the blocks.</summary>
    public void Dispose()
    {
        foreach ((_, _, Tensor values) in blocks)
        {
            values.Dispose();
        }
    }

    // The parts of rows first .. first + count within each block: From counts from the block's own first row.
    private IEnumerable<(long BlockFirst, Tensor Values, long From, long Count)> Meeting(long first, long count)
    {
        foreach ((long blockFirst, long blockCount, Tensor values) in blocks)
        {
            long from = Math.Max(first, blockFirst);
            long to = Math.Min(first + count, blockFirst + blockCount);
            if (from < to)
            {
                yield return (blockFirst, values, from - blockFirst, to - from);
            }
        }
    }
}
