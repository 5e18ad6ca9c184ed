using MathNet.Numerics.Statistics;

namespace Armor.Core.Evaluation;

/// <summary>The negative log-likelihood of one sequence.</summary>
/// <param name="NllSum">Sum over its predictions, in nats.</param>
/// <param name="Predictions">How many tokens were predicted: the sequence's length − 1.</param>
public readonly record struct SequenceNll(double NllSum, int Predictions);

/// <summary>How well a model predicts a text.</summary>
public sealed record PerplexityResult
{
    /// <summary>One entry a sequence, in the order in which they were given.</summary>
    public required IReadOnlyList<SequenceNll> SequenceNlls { get; init; }

    /// <summary>Wall time.</summary>
    public required double Seconds { get; init; }

    /// <summary>How many tokens were predicted.</summary>
    public long Predictions => SequenceNlls.Sum(sequence => (long)sequence.Predictions);

    /// <summary>How many sequences there were.</summary>
    public int Sequences => SequenceNlls.Count;

    /// <summary>Mean negative log-likelihood, in nats a token: Σ s_i / Σ n_i over sequences i of n_i predictions with the sum s_i.</summary>
    public double Nll => SequenceNlls.Sum(sequence => sequence.NllSum) / Predictions;

    /// <summary>exp(<see cref="Nll"/>).</summary>
    public double Perplexity => Math.Exp(Nll);

    /// <summary>
    /// The standard error of <see cref="Nll"/>, sequences being the independent draws (tokens of one text are not): that of a ratio
    /// estimator, √(k/(k−1) · Σ (s_i − r·n_i)²) / Σ n_i for k sequences and r = <see cref="Nll"/>. Null for a single sequence.
    /// </summary>
    public double? NllStandardError => RatioStandardError([.. SequenceNlls.Select(sequence => sequence.NllSum)]);

    /// <summary>The difference to another model on the same sequences, this one's minus the other's.</summary>
    /// <param name="other">The other model's result, as a rule the dense one's.</param>
    /// <returns>ΔNLL with the standard error of the paired difference, which is far smaller than either result's own.</returns>
    /// <exception cref="ArgumentException">The results are not of the same sequences.</exception>
    public NllDifference Minus(PerplexityResult other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (!SequenceNlls.Select(sequence => sequence.Predictions).SequenceEqual(other.SequenceNlls.Select(sequence => sequence.Predictions)))
        {
            throw new ArgumentException(
                $"Only results of the same sequences can be compared; found {Sequences} sequences with {Predictions} predictions "
                    + $"against {other.Sequences} with {other.Predictions}.",
                nameof(other));
        }

        double[] differences = [.. SequenceNlls.Zip(other.SequenceNlls, (mine, theirs) => mine.NllSum - theirs.NllSum)];
        return new NllDifference(differences.Sum() / Predictions, RatioStandardError(differences));
    }

    private double? RatioStandardError(double[] sums)
    {
        int count = sums.Length;
        if (count < 2)
        {
            return null;
        }

        double ratio = sums.Sum() / Predictions;
        IEnumerable<double> residuals = sums.Zip(SequenceNlls, (sum, sequence) => sum - (ratio * sequence.Predictions));
        return Math.Sqrt(count) * residuals.StandardDeviation() / Predictions; // their mean is zero
    }
}

/// <summary>A paired difference of two models' mean negative log-likelihoods.</summary>
/// <param name="Delta">In nats a token; positive where the first model predicts worse.</param>
/// <param name="StandardError">The ratio estimator's standard error over sequences; null for a single sequence.</param>
public readonly record struct NllDifference(double Delta, double? StandardError);
