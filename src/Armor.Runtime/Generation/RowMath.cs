using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Generation;

/// <summary>Operations on single rows of activations.</summary>
internal static class RowMath
{
    /// <summary>RMS norm: x / √(mean x² + ε) · weight. The output may be the input.</summary>
    public static void Normalize(ReadOnlySpan<float> input, ReadOnlySpan<float> weight, float epsilon, Span<float> output)
    {
        var scale = 1 / MathF.Sqrt((DotProduct.Compute(input, input) / input.Length) + epsilon);
        for (var i = 0; i < input.Length; i++)
        {
            output[i] = input[i] * scale * weight[i];
        }
    }

    /// <summary>sum += addend.</summary>
    public static void Add(ReadOnlySpan<float> addend, Span<float> sum)
    {
        var addends = MemoryMarshal.Cast<float, Vector<float>>(addend);
        var sums = MemoryMarshal.Cast<float, Vector<float>>(sum)[..addends.Length];
        for (var i = 0; i < addends.Length; i++)
        {
            sums[i] += addends[i];
        }

        for (var i = addends.Length * Vector<float>.Count; i < addend.Length; i++)
        {
            sum[i] += addend[i];
        }
    }

    /// <summary>sum += scale · addend.</summary>
    public static void AddScaled(float scale, ReadOnlySpan<float> addend, Span<float> sum)
    {
        var addends = MemoryMarshal.Cast<float, Vector<float>>(addend);
        var sums = MemoryMarshal.Cast<float, Vector<float>>(sum)[..addends.Length];
        var scales = new Vector<float>(scale);
        for (var i = 0; i < addends.Length; i++)
        {
            sums[i] = Vector.MultiplyAddEstimate(addends[i], scales, sums[i]);
        }

        for (var i = addends.Length * Vector<float>.Count; i < addend.Length; i++)
        {
            sum[i] += scale * addend[i];
        }
    }

    /// <summary>gate = silu(gate) · up, with silu(x) = x / (1 + exp(−x)).</summary>
    public static void GateBySilu(Span<float> gate, ReadOnlySpan<float> up)
    {
        for (var i = 0; i < gate.Length; i++)
        {
            gate[i] = gate[i] / (1 + MathF.Exp(-gate[i])) * up[i];
        }
    }

    /// <summary>gate = gelu(gate) · up, with gelu(x) = x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))).</summary>
    public static void GateByGelu(Span<float> gate, ReadOnlySpan<float> up)
    {
        const float Root = 0.7978845608028654f;
        for (var i = 0; i < gate.Length; i++)
        {
            var x = gate[i];
            gate[i] = x / 2 * (1 + MathF.Tanh(Root * (x + (0.044715f * x * x * x)))) * up[i];
        }
    }

    /// <summary>x = cap·tanh(x / cap), in place.</summary>
    public static void SoftCap(Span<float> values, float cap)
    {
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = cap * MathF.Tanh(values[i] / cap);
        }
    }

    /// <summary>Multiplies by a number, in place.</summary>
    public static void Scale(Span<float> values, float scale)
    {
        for (var i = 0; i < values.Length; i++)
        {
            values[i] *= scale;
        }
    }

    /// <summary>Softmax in place.</summary>
    public static void Softmax(Span<float> scores)
    {
        var highest = float.NegativeInfinity;
        foreach (var score in scores)
        {
            highest = MathF.Max(highest, score);
        }

        float sum = 0;
        for (var i = 0; i < scores.Length; i++)
        {
            scores[i] = MathF.Exp(scores[i] - highest);
            sum += scores[i];
        }

        Scale(scores, 1 / sum);
    }
}
