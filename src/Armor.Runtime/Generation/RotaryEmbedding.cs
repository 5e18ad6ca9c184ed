using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// The rotary embedding in the layout of Hugging Face checkpoints: element i of a head's first half turns with element i of its second half.
/// </summary>
internal sealed class RotaryEmbedding(ModelConfiguration configuration)
{
    private readonly double[] _frequencies =
        RopeScaling.Frequencies(configuration.RopeTheta, configuration.HeadSize, configuration.RopeScaling);

    /// <summary>Cosines and sines of consecutive positions, which serve every layer and head.</summary>
    /// <param name="firstPosition">The position of the first row.</param>
    /// <param name="rows">Number of positions.</param>
    /// <param name="cosines">[rows, head size / 2].</param>
    /// <param name="sines">[rows, head size / 2].</param>
    public void ComputeRotations(int firstPosition, int rows, Span<float> cosines, Span<float> sines)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var i = 0; i < _frequencies.Length; i++)
            {
                // In double precision: at position 100,000 a single's angle is off by up to 0.004 radians.
                var (sine, cosine) = Math.SinCos((firstPosition + row) * _frequencies[i]);
                cosines[(row * _frequencies.Length) + i] = (float)cosine;
                sines[(row * _frequencies.Length) + i] = (float)sine;
            }
        }
    }

    /// <summary>Rotates one head of one position in place.</summary>
    /// <param name="head">[head size].</param>
    /// <param name="cosines">[head size / 2].</param>
    /// <param name="sines">[head size / 2].</param>
    public static void Rotate(Span<float> head, ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines)
    {
        var first = head[..cosines.Length];
        var second = head[cosines.Length..];
        for (var i = 0; i < cosines.Length; i++)
        {
            var (x, y) = (first[i], second[i]);
            first[i] = (x * cosines[i]) - (y * sines[i]);
            second[i] = (y * cosines[i]) + (x * sines[i]);
        }
    }
}
