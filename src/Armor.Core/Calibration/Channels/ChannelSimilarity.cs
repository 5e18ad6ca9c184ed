using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Channels;

/// <summary>
/// How alike the inner channels of an MLP are: the sum of the squared cosines of their rows of gate, of their rows of up and of their columns of down,
/// as whole multiples of 2⁻¹³. Every bit is the same whatever adds the products in whatever order: a resumed run must find the same order of channels.
/// </summary>
internal sealed unsafe class ChannelSimilarity : IDisposable
{
    // Unit vectors are rounded to multiples of 2⁻¹¹. Products are multiples of 2⁻²² then, and by Cauchy and Schwarz no part of their sum reaches 4 = 2²⁴·2⁻²²:
    // float32 adds them without rounding.
    private const double VectorUnits = 2048;

    // Three squared cosines, each at most the fourth power of a rounded vector's norm, fit into 16 bits.
    private const double SimilarityUnits = 8192;

    // Below this a channel is dead: its vector is taken for zero.
    private const double SmallestNorm = 1e-30;

    private readonly Tensor similarities;
    private readonly double[] strengths;

    private ChannelSimilarity(Tensor similarities, double[] strengths)
    {
        this.similarities = similarities;
        this.strengths = strengths;
    }

    /// <summary>Of each channel the product of its three norms.</summary>
    public ReadOnlySpan<double> Strengths => strengths;

    /// <summary>Compares all channels with each other: one matrix of 16-bit numbers, and products in strips.</summary>
    /// <param name="gate">float32 [channels, hidden].</param>
    /// <param name="up">float32 [channels, hidden].</param>
    /// <param name="down">float32 [hidden, channels].</param>
    /// <param name="cancellationToken">Stops between strips.</param>
    /// <param name="strip">Channels of a product; without effect on the result.</param>
    public static ChannelSimilarity Measure(Tensor gate, Tensor up, Tensor down, CancellationToken cancellationToken, int strip = 256)
    {
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        long channels = gate.shape[0];
        Tensor sums = zeros([channels, channels], int16);
        double[] strengths = [.. Enumerable.Repeat(1.0, checked((int)channels))];
        foreach ((Tensor weight, double[] squares) in new[] { (gate, RowSquares(gate)), (up, RowSquares(up)), (down.t(), ColumnSquares(down)) })
        {
            using var factorScope = NewDisposeScope();
            Tensor vectors = UnitVectors(weight, squares, strengths);
            for (long first = 0; first < channels; first += strip)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var stripScope = NewDisposeScope();
                long count = Math.Min(strip, channels - first);
                Tensor cosines = vectors.narrow(0, first, count).mm(vectors.narrow(0, first, channels - first).t());
                Upper(first, count).AddInPlace(cosines.Squared().TimesInPlace(SimilarityUnits).round_().to(int16));
            }
        }

        for (long first = 0; first < channels; first += strip)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(strip, channels - first);
            sums.narrow(0, first, channels - first).narrow(1, first, count).copy_(Upper(first, count).t().clone());
        }

        return new ChannelSimilarity(sums.DetachFromDisposeScope(), strengths);

        // Of a strip of channels, what no earlier strip has.
        Tensor Upper(long first, long count) => sums.narrow(0, first, count).narrow(1, first, channels - first);
    }

    /// <summary>How like each channel is to one of them.</summary>
    public ReadOnlySpan<short> Of(int channel)
    {
        using var scope = NewDisposeScope();
        return new ReadOnlySpan<short>(CoreSystems.Pointer(similarities[channel]), strengths.Length);
    }

    /// <inheritdoc/>
    public void Dispose() => similarities.Dispose();

    private static Tensor UnitVectors(Tensor weight, double[] squares, double[] strengths)
    {
        var factors = new float[squares.Length];
        for (int channel = 0; channel < factors.Length; channel++)
        {
            double norm = Math.Sqrt(squares[channel]);
            strengths[channel] *= norm;
            factors[channel] = norm < SmallestNorm ? 0 : (float)(VectorUnits / norm);
        }

        using var scope = NewDisposeScope();
        return (weight * tensor(factors).unsqueeze(1)).round_().TimesInPlace(1 / VectorUnits).MoveToOuterDisposeScope();
    }

    // Both sum in an order of their own rather than in torch's, which depends on threads and machine.
    private static double[] RowSquares(Tensor weight)
    {
        var squares = new double[weight.shape[0]];
        int columns = checked((int)weight.shape[1]);
        for (int row = 0; row < squares.Length; row++)
        {
            foreach (float value in TensorMemory.Floats(weight, (long)row * columns, columns))
            {
                squares[row] += (double)value * value;
            }
        }

        return squares;
    }

    private static double[] ColumnSquares(Tensor weight)
    {
        var squares = new double[weight.shape[1]];
        for (long row = 0; row < weight.shape[0]; row++)
        {
            Span<float> values = TensorMemory.Floats(weight, row * squares.Length, squares.Length);
            for (int column = 0; column < squares.Length; column++)
            {
                squares[column] += (double)values[column] * values[column];
            }
        }

        return squares;
    }
}
