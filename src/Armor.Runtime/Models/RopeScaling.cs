namespace Armor.Runtime.Models;

/// <summary>How rotary embeddings are stretched beyond the context length of the pre-training.</summary>
public enum RopeScalingKind
{
    /// <summary>Every frequency is divided by the factor.</summary>
    Linear,

    /// <summary>Llama 3.1's rule: low frequencies are divided by the factor, high ones kept, those between interpolated.</summary>
    Llama3,

    /// <summary>LongRoPE (arXiv 2402.13753): every frequency has a factor of its own, of one table up to the original context and of another beyond.</summary>
    LongRope,
}

/// <summary>The <c>rope_scaling</c> (or <c>rope_parameters</c>) entry of a <c>config.json</c>.</summary>
/// <param name="Kind">The rule.</param>
/// <param name="Factor">The stretch, at least 1; of LongRoPE the ratio of the context to the original one.</param>
/// <param name="LowFrequencyFactor">Llama 3 only: wavelengths above original context / this are stretched whole.</param>
/// <param name="HighFrequencyFactor">Llama 3 only: wavelengths below original context / this are kept.</param>
/// <param name="OriginalContextLength">Llama 3 and LongRoPE: the context length of the pre-training, in tokens.</param>
public sealed record RopeScaling(
    RopeScalingKind Kind,
    double Factor,
    double LowFrequencyFactor = 1,
    double HighFrequencyFactor = 4,
    int OriginalContextLength = 8192)
{
    /// <summary>LongRoPE only: what each frequency is divided by in sequences up to the original context, [rotary size / 2].</summary>
    public IReadOnlyList<double> ShortFactors { get; init; } = [];

    /// <summary>LongRoPE only: what each frequency is divided by in longer sequences, [rotary size / 2].</summary>
    public IReadOnlyList<double> LongFactors { get; init; } = [];

    /// <summary>What cosines and sines are multiplied by; 1 but for LongRoPE.</summary>
    public double Magnitude { get; init; } = 1;

    /// <summary>LongRoPE's magnitude where the file gives none: √(1 + ln factor / ln original context).</summary>
    /// <param name="factor">The ratio of the context to the original one.</param>
    /// <param name="originalContextLength">In tokens.</param>
    public static double LongRopeMagnitude(double factor, int originalContextLength) =>
        factor <= 1 ? 1 : Math.Sqrt(1 + (Math.Log(factor) / Math.Log(originalContextLength)));

    /// <summary>
    /// The angular step of each rotated pair, in radians a position: <c>theta^(-2i/size)</c> for i in [0, size/2), scaled by
    /// <paramref name="scaling"/>. The interpolation is that of Llama 3.1's reference code.
    /// </summary>
    /// <param name="theta">The base of the wavelengths.</param>
    /// <param name="headSize">The size of an attention head, or of its rotated part; even.</param>
    /// <param name="scaling">The stretch, or null for none.</param>
    /// <param name="isLong">Whether the sequence is longer than the original context; matters to LongRoPE only.</param>
    /// <returns>headSize/2 steps.</returns>
    public static double[] Frequencies(double theta, int headSize, RopeScaling? scaling, bool isLong = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNotEqual(headSize % 2, 0, nameof(headSize));
        var frequencies = new double[headSize / 2];
        for (var i = 0; i < frequencies.Length; i++)
        {
            var frequency = Math.Pow(theta, -2.0 * i / headSize);
            frequencies[i] = scaling?.Scale(frequency, i, isLong) ?? frequency;
        }

        return frequencies;
    }

    /// <summary>Compares the tables of factors by their values.</summary>
    /// <param name="other">The other.</param>
    public bool Equals(RopeScaling? other) =>
        other is not null
        && (Kind, Factor, LowFrequencyFactor, HighFrequencyFactor, OriginalContextLength, Magnitude)
            == (other.Kind, other.Factor, other.LowFrequencyFactor, other.HighFrequencyFactor, other.OriginalContextLength, other.Magnitude)
        && ShortFactors.SequenceEqual(other.ShortFactors)
        && LongFactors.SequenceEqual(other.LongFactors);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Kind, Factor, OriginalContextLength, LongFactors.Count);

    private double Scale(double frequency, int pair, bool isLong)
    {
        if (Kind == RopeScalingKind.LongRope)
        {
            return frequency / (isLong ? LongFactors : ShortFactors)[pair];
        }

        if (Kind == RopeScalingKind.Linear)
        {
            return frequency / Factor;
        }

        var turns = OriginalContextLength * frequency / (2 * Math.PI);
        if (turns < LowFrequencyFactor)
        {
            return frequency / Factor;
        }

        if (turns > HighFrequencyFactor)
        {
            return frequency;
        }

        var kept = (turns - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor);
        return ((1 - kept) * frequency / Factor) + (kept * frequency);
    }
}
