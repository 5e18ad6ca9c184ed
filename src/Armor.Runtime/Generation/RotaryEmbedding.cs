using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// The rotary embedding in the layout of Hugging Face checkpoints: element i of the rotated part's first half turns with element i of its
/// second half.
/// </summary>
internal sealed class RotaryEmbedding(ModelConfiguration configuration)
{
    private readonly Rotation[] _rotations =
        [.. new[] { false, true }.SelectMany(isLong => new[] { false, true }.Select(isLocal => configuration.GetRotation(isLocal, isLong)))];

    /// <summary>Cosines and sines of consecutive positions, which serve every layer of a kind and all its heads.</summary>
    /// <param name="isLocal">Whether for the layers that rotate by the local base.</param>
    /// <param name="segment">The positions.</param>
    /// <param name="table">Its rows are filled.</param>
    public void ComputeRotations(bool isLocal, Segment segment, RotationTable table)
    {
        var (frequencies, magnitude) = _rotations[(segment.IsLong ? 2 : 0) + (isLocal ? 1 : 0)];
        for (var row = 0; row < segment.Rows; row++)
        {
            var start = (segment.FirstRow + row) * frequencies.Count;
            for (var i = 0; i < frequencies.Count; i++)
            {
                // In double precision: at position 100,000 a single's angle is off by up to 0.004 radians.
                var (sine, cosine) = Math.SinCos((segment.FirstPosition + row) * frequencies[i]);
                table.Cosines[start + i] = (float)(cosine * magnitude);
                table.Sines[start + i] = (float)(sine * magnitude);
            }
        }
    }

    /// <summary>Rotates the rotated part of one head of one position in place.</summary>
    /// <param name="head">[rotary size].</param>
    /// <param name="cosines">[rotary size / 2].</param>
    /// <param name="sines">[rotary size / 2].</param>
    public static void Rotate(Span<float> head, ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines)
    {
        var first = head[..cosines.Length];
        var second = head.Slice(cosines.Length, cosines.Length);
        var cosineVectors = MemoryMarshal.Cast<float, Vector<float>>(cosines);
        var sineVectors = MemoryMarshal.Cast<float, Vector<float>>(sines)[..cosineVectors.Length];
        var firstVectors = MemoryMarshal.Cast<float, Vector<float>>(first)[..cosineVectors.Length];
        var secondVectors = MemoryMarshal.Cast<float, Vector<float>>(second)[..cosineVectors.Length];
        for (var i = 0; i < cosineVectors.Length; i++)
        {
            var (x, y) = (firstVectors[i], secondVectors[i]);
            firstVectors[i] = (x * cosineVectors[i]) - (y * sineVectors[i]);
            secondVectors[i] = (y * cosineVectors[i]) + (x * sineVectors[i]);
        }

        for (var i = cosineVectors.Length * Vector<float>.Count; i < cosines.Length; i++)
        {
            var (x, y) = (first[i], second[i]);
            first[i] = (x * cosines[i]) - (y * sines[i]);
            second[i] = (y * cosines[i]) + (x * sines[i]);
        }
    }
}

/// <summary>Cosines and sines of the positions of one pass.</summary>
/// <param name="Cosines">[rows, rotary size / 2].</param>
/// <param name="Sines">[rows, rotary size / 2].</param>
internal sealed record RotationTable(float[] Cosines, float[] Sines);
