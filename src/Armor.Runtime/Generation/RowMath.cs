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
        var inputs = MemoryMarshal.Cast<float, Vector<float>>(input);
        var weights = MemoryMarshal.Cast<float, Vector<float>>(weight)[..inputs.Length];
        var outputs = MemoryMarshal.Cast<float, Vector<float>>(output)[..inputs.Length];
        for (var i = 0; i < inputs.Length; i++)
        {
            outputs[i] = inputs[i] * scale * weights[i];
        }

        for (var i = inputs.Length * Vector<float>.Count; i < input.Length; i++)
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

    /// <summary>gate = silu(gate) · up.</summary>
    public static void GateBySilu(Span<float> gate, ReadOnlySpan<float> up) => ElementFunctions.Map(default(ElementFunctions.GateBySilu), gate, up);

    /// <summary>gate = gelu(gate) · up, by the approximation with tanh.</summary>
    public static void GateByGelu(Span<float> gate, ReadOnlySpan<float> up) => ElementFunctions.Map(default(ElementFunctions.GateByGelu), gate, up);

    /// <summary>x = cap·tanh(x / cap), in place.</summary>
    public static void SoftCap(Span<float> values, float cap) => ElementFunctions.Map(new ElementFunctions.SoftCap(cap), values, values);

    /// <summary>Multiplies by a number, in place.</summary>
    public static void Scale(Span<float> values, float scale)
    {
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        for (var i = 0; i < vectors.Length; i++)
        {
            vectors[i] *= scale;
        }

        for (var i = vectors.Length * Vector<float>.Count; i < values.Length; i++)
        {
            values[i] *= scale;
        }
    }

    /// <summary>The index of the highest value; of equals, the first.</summary>
    /// <param name="values">At least one, finite.</param>
    public static int IndexOfMax(ReadOnlySpan<float> values)
    {
        var highest = Max(values);
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        var v = 0;
        while (v < vectors.Length && !Vector.EqualsAny(vectors[v], new Vector<float>(highest)))
        {
            v++;
        }

        var i = v * Vector<float>.Count;
        while (values[i] != highest)
        {
            i++;
        }

        return i;
    }

    /// <summary>The highest value.</summary>
    /// <param name="values">At least one, finite.</param>
    public static float Max(ReadOnlySpan<float> values)
    {
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        var highest = values[0];
        if (vectors.Length > 0)
        {
            var highestOfLanes = vectors[0];
            foreach (var vector in vectors[1..])
            {
                highestOfLanes = Vector.Max(highestOfLanes, vector);
            }

            for (var lane = 0; lane < Vector<float>.Count; lane++)
            {
                highest = MathF.Max(highest, highestOfLanes[lane]);
            }
        }

        foreach (var value in values[(vectors.Length * Vector<float>.Count)..])
        {
            highest = MathF.Max(highest, value);
        }

        return highest;
    }

    /// <summary>Softmax in place.</summary>
    public static void Softmax(Span<float> scores)
    {
        ElementFunctions.Map(new ElementFunctions.ExpBelow(Max(scores)), scores, scores);
        Scale(scores, 1 / Sum(scores));
    }

    private static float Sum(ReadOnlySpan<float> values)
    {
        var vectors = MemoryMarshal.Cast<float, Vector<float>>(values);
        Vector<float> sums = default;
        foreach (var vector in vectors)
        {
            sums += vector;
        }

        var sum = Vector.Sum(sums);
        foreach (var value in values[(vectors.Length * Vector<float>.Count)..])
        {
            sum += value;
        }

        return sum;
    }
}
