namespace Armor.Runtime.Generation;

/// <summary>Chooses the next token from logits. One sampler serves one generation: each draw moves its random numbers on.</summary>
internal sealed class TokenSampler(GenerationOptions options)
{
    private ulong _state = (ulong)options.Seed;

    /// <summary>The next token.</summary>
    /// <param name="logits">[vocabulary].</param>
    /// <exception cref="ArithmeticException">The model's numbers have overflowed.</exception>
    public int Next(ReadOnlySpan<float> logits)
    {
        var likeliest = Likeliest(logits);
        if (options.Temperature == 0)
        {
            return likeliest;
        }

        var (tokens, probabilities) = Distribution(logits, options);
        var draw = NextDouble();
        for (var i = 0; i < tokens.Length - 1; i++)
        {
            draw -= probabilities[i];
            if (draw < 0)
            {
                return tokens[i];
            }
        }

        return tokens[^1];
    }

    /// <summary>What is drawn from: the tokens that the cuts leave, likeliest first, and their probabilities, which add up to one.</summary>
    /// <param name="logits">[vocabulary], finite.</param>
    /// <param name="options">With a temperature above 0.</param>
    internal static (int[] Tokens, double[] Probabilities) Distribution(ReadOnlySpan<float> logits, GenerationOptions options)
    {
        var negated = new float[logits.Length];
        var tokens = new int[logits.Length];
        for (var i = 0; i < logits.Length; i++)
        {
            (negated[i], tokens[i]) = (-logits[i], i);
        }

        Array.Sort(negated, tokens);
        var probabilities = new double[Math.Min(options.TopK ?? logits.Length, logits.Length)];
        for (var i = 0; i < probabilities.Length; i++)
        {
            probabilities[i] = Math.Exp(((double)negated[0] - negated[i]) / options.Temperature);
        }

        var limit = options.TopP * probabilities.Sum();
        var kept = 0;
        double sum = 0;
        while (kept < probabilities.Length && (kept == 0 || options.TopP == 1 || sum < limit))
        {
            sum += probabilities[kept++];
        }

        return (tokens[..kept], Array.ConvertAll(probabilities[..kept], probability => probability / sum));
    }

    /// <summary>The token of the highest logit; of equals, the first.</summary>
    private static int Likeliest(ReadOnlySpan<float> logits)
    {
        var likeliest = 0;
        for (var i = 0; i < logits.Length; i++)
        {
            if (!float.IsFinite(logits[i]))
            {
                throw new ArithmeticException($"The logit of token {i} is {logits[i]}: the model's activations exceed the range of float32.");
            }

            likeliest = logits[i] > logits[likeliest] ? i : likeliest;
        }

        return likeliest;
    }

    /// <summary>SplitMix64's next number, in [0, 1): the same on every machine and runtime.</summary>
    private double NextDouble()
    {
        _state += 0x9E3779B97F4A7C15UL;
        var z = _state;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
    }
}
