namespace Armor.Runtime.Models;

/// <summary>How rotary embeddings are stretched beyond the context length of the pre-training.</summary>
public enum RopeScalingKind
{
    /// <summary>Every frequency is divided by the factor.</summary>
    Linear,

    /// <summary>Llama 3.1's rule: low frequencies are divided by the factor, high ones kept, those between interpolated.</summary>
    Llama3,
}

/// <summary>The <c>rope_scaling</c> (or <c>rope_parameters</c>) entry of a <c>config.json</c>.</summary>
/// <param name="Kind">The rule.</param>
/// <param name="Factor">The stretch, at least 1.</param>
/// <param name="LowFrequencyFactor">Llama 3 only: wavelengths above original context / this are stretched whole.</param>
/// <param name="HighFrequencyFactor">Llama 3 only: wavelengths below original context / this are kept.</param>
/// <param name="OriginalContextLength">Llama 3 only: the context length of the pre-training, in tokens.</param>
public sealed record RopeScaling(
    RopeScalingKind Kind,
    double Factor,
    double LowFrequencyFactor = 1,
    double HighFrequencyFactor = 4,
    int OriginalContextLength = 8192)
{
    /// <summary>
    /// The angular step of each rotated pair, in radians a position: <c>theta^(-2i/headSize)</c> for i in [0, headSize/2), scaled by
    /// <paramref name="scaling"/>. The interpolation is that of Llama 3.1's reference code.
    /// </summary>
    /// <param name="theta">The base of the wavelengths.</param>
    /// <param name="headSize">The size of an attention head; even.</param>
    /// <param name="scaling">The stretch, or null for none.</param>
    /// <returns>headSize/2 steps.</returns>
    public static double[] Frequencies(double theta, int headSize, RopeScaling? scaling)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNotEqual(headSize % 2, 0, nameof(headSize));
        var frequencies = new double[headSize / 2];
        for (var i = 0; i < frequencies.Length; i++)
        {
            var frequency = Math.Pow(theta, -2.0 * i / headSize);
            frequencies[i] = scaling?.Scale(frequency) ?? frequency;
        }

        return frequencies;
    }

    private double Scale(double frequency)
    {
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
