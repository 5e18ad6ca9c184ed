using Armor.Runtime.Models;

namespace Armor.Core.Tests.Modules;

/// <summary>
/// A decoder written from the papers in plain float64 loops, position by position, without TorchSharp or any of the library's helpers: RMS
/// norm (arXiv 1910.07467), rotary embedding (arXiv 2104.09864) in the half-split layout, grouped queries (arXiv 2305.13245), SwiGLU (arXiv
/// 2002.05202), Llama 3.1's stretch of the wavelengths.
/// </summary>
internal sealed class ReferenceTransformer(ModelConfiguration configuration, IReadOnlyDictionary<string, double[]> weights)
{
    /// <summary>Logits of every position of one sequence.</summary>
    public double[][] Logits(int[] tokens)
    {
        var hidden = tokens.Select(token => Row(weights["model.embed_tokens.weight"], token, configuration.HiddenSize)).ToArray();
        for (var layer = 0; layer < configuration.LayerCount; layer++)
        {
            RunLayer(hidden, layer);
        }

        var head = weights[configuration.TieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"];
        return [.. hidden.Select(x => Multiply(head, null, Norm(x, weights["model.norm.weight"])))];
    }

    private void RunLayer(double[][] hidden, int layer)
    {
        var prefix = $"model.layers.{layer}.";
        var queries = new double[hidden.Length][];
        var keys = new double[hidden.Length][];
        var values = new double[hidden.Length][];
        for (var position = 0; position < hidden.Length; position++)
        {
            var normed = Norm(hidden[position], weights[prefix + "input_layernorm.weight"]);
            queries[position] = Rotate(NormHeads(Linear(prefix + "self_attn.q_proj", normed), prefix + "self_attn.q_norm.weight"), position);
            keys[position] = Rotate(NormHeads(Linear(prefix + "self_attn.k_proj", normed), prefix + "self_attn.k_norm.weight"), position);
            values[position] = Linear(prefix + "self_attn.v_proj", normed);
        }

        for (var position = 0; position < hidden.Length; position++)
        {
            var isSliding = configuration.SlidingWindow is not null && layer >= configuration.FirstSlidingLayer;
            var first = isSliding ? Math.Max(0, position - configuration.SlidingWindow!.Value + 1) : 0;
            var context = Attend(queries[position], keys, values, first, position);
            var x = Add(hidden[position], Linear(prefix + "self_attn.o_proj", context));
            var normed = Norm(x, weights[prefix + "post_attention_layernorm.weight"]);
            var gate = Linear(prefix + "mlp.gate_proj", normed);
            var up = Linear(prefix + "mlp.up_proj", normed);
            var gated = gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u).ToArray();
            hidden[position] = Add(x, Linear(prefix + "mlp.down_proj", gated));
        }
    }

    private double[] Attend(double[] query, double[][] keys, double[][] values, int first, int last)
    {
        var size = configuration.HeadSize;
        var groups = configuration.AttentionHeadCount / configuration.KeyValueHeadCount;
        var context = new double[query.Length];
        for (var head = 0; head < configuration.AttentionHeadCount; head++)
        {
            var shared = head / groups * size;
            var scores = new double[last + 1];
            double sum = 0;
            for (var position = first; position <= last; position++)
            {
                double dot = 0;
                for (var i = 0; i < size; i++)
                {
                    dot += query[(head * size) + i] * keys[position][shared + i];
                }

                scores[position] = Math.Exp(dot / Math.Sqrt(size));
                sum += scores[position];
            }

            for (var position = first; position <= last; position++)
            {
                for (var i = 0; i < size; i++)
                {
                    context[(head * size) + i] += scores[position] / sum * values[position][shared + i];
                }
            }
        }

        return context;
    }

    private double[] Rotate(double[] heads, int position)
    {
        var size = configuration.HeadSize;
        var rotated = new double[heads.Length];
        for (var start = 0; start < heads.Length; start += size)
        {
            for (var i = 0; i < size / 2; i++)
            {
                var angle = position * Frequency(i);
                var (a, b) = (heads[start + i], heads[start + i + (size / 2)]);
                rotated[start + i] = (a * Math.Cos(angle)) - (b * Math.Sin(angle));
                rotated[start + i + (size / 2)] = (b * Math.Cos(angle)) + (a * Math.Sin(angle));
            }
        }

        return rotated;
    }

    private double Frequency(int pair)
    {
        var frequency = 1 / Math.Pow(configuration.RopeTheta, 2.0 * pair / configuration.HeadSize);
        if (configuration.RopeScaling is not { } scaling)
        {
            return frequency;
        }

        if (scaling.Kind == RopeScalingKind.Linear)
        {
            return frequency / scaling.Factor;
        }

        // Meta's apply_scaling, by wavelengths.
        var wavelength = 2 * Math.PI / frequency;
        if (wavelength < scaling.OriginalContextLength / scaling.HighFrequencyFactor)
        {
            return frequency;
        }

        if (wavelength > scaling.OriginalContextLength / scaling.LowFrequencyFactor)
        {
            return frequency / scaling.Factor;
        }

        var smooth = ((scaling.OriginalContextLength / wavelength) - scaling.LowFrequencyFactor)
            / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor);
        return ((1 - smooth) * frequency / scaling.Factor) + (smooth * frequency);
    }

    private double[] NormHeads(double[] heads, string name) =>
        configuration.QueryKeyNorm ? [.. heads.Chunk(configuration.HeadSize).SelectMany(head => Norm(head, weights[name]))] : heads;

    private double[] Norm(double[] x, double[] weight)
    {
        var root = Math.Sqrt((x.Sum(value => value * value) / x.Length) + configuration.NormEpsilon);
        return [.. x.Zip(weight, (value, scale) => value / root * scale)];
    }

    private double[] Linear(string name, double[] x) => Multiply(weights[name + ".weight"], weights.GetValueOrDefault(name + ".bias"), x);

    private static double[] Multiply(double[] weight, double[]? bias, double[] x)
    {
        var y = new double[weight.Length / x.Length];
        for (var row = 0; row < y.Length; row++)
        {
            y[row] = bias?[row] ?? 0;
            for (var column = 0; column < x.Length; column++)
            {
                y[row] += weight[(row * x.Length) + column] * x[column];
            }
        }

        return y;
    }

    private static double[] Add(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double[] Row(double[] matrix, int row, int columns) => matrix[(row * columns)..((row + 1) * columns)];
}
