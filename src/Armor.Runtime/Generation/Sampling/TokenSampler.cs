using System.Runtime.Intrinsics;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Generation.Sampling;

/// <summary>
/// Chooses the next token from logits. One sampler serves one sequence: each draw moves its random numbers on. It allocates nothing after it is
/// made, but for its record of a growing sequence where there is a repetition penalty.
/// </summary>
internal sealed class TokenSampler
{
    private readonly GenerationOptions _options;
    private readonly RepetitionPenalty? _penalty;
    private readonly ulong[] _keys;
    private readonly int[] _tokens;
    private readonly float[] _logits;
    private readonly double[] _weights;
    private ulong _state;

    /// <param name="options">Valid ones.</param>
    /// <param name="vocabulary">Number of tokens.</param>
    /// <param name="prompt">What the sequence starts with.</param>
    public TokenSampler(GenerationOptions options, int vocabulary, ReadOnlySpan<int> prompt)
    {
        _options = options;
        _state = (ulong)options.Seed;
        _penalty = options.RepetitionPenalty == 1
            ? null
            : new RepetitionPenalty(options.RepetitionPenalty, options.RepetitionWindow, vocabulary, prompt);
        var draws = options.Temperature > 0 ? vocabulary : 0;
        _weights = new double[draws];
        var candidates = options.TopK is null && options.TopP == 1 && options.MinP == 0 ? 0 : draws;
        _keys = new ulong[candidates];
        _tokens = new int[candidates];
        _logits = new float[candidates];
    }

    /// <summary>The next token, which counts as part of the sequence then.</summary>
    /// <param name="logits">[vocabulary]; a repetition penalty changes them.</param>
    /// <exception cref="ArithmeticException">The model's numbers have overflowed.</exception>
    public int Next(Span<float> logits)
    {
        _penalty?.Apply(logits);
        CheckFinite(logits);
        var token = _options.Temperature == 0 ? RowMath.IndexOfMax(logits) : Draw(logits);
        _penalty?.Append(token);
        return token;
    }

    /// <summary>The token of the highest logit; of equals, the first.</summary>
    /// <param name="logits">[vocabulary].</param>
    /// <exception cref="ArithmeticException">The model's numbers have overflowed.</exception>
    public static int Likeliest(ReadOnlySpan<float> logits)
    {
        CheckFinite(logits);
        return RowMath.IndexOfMax(logits);
    }

    /// <summary>What is drawn from.</summary>
    /// <param name="logits">[vocabulary], finite.</param>
    /// <returns>The tokens that the cuts leave, and their weights, of which the likeliest has 1.</returns>
    internal (ReadOnlyMemory<int> Tokens, ReadOnlyMemory<double> Weights) Distribution(ReadOnlySpan<float> logits)
    {
        var count = Cut(logits);
        return (_tokens.Length == 0 ? Enumerable.Range(0, count).ToArray() : _tokens.AsMemory(0, count), _weights.AsMemory(0, count));
    }

    private static void CheckFinite(ReadOnlySpan<float> logits)
    {
        var bad = FloatConversion.IndexOfNonFinite(logits);
        if (bad >= 0)
        {
            throw new ArithmeticException($"The logit of token {bad} is {logits[bad]}: the model's activations exceed the range of float32.");
        }
    }

    private int Draw(ReadOnlySpan<float> logits)
    {
        var count = Cut(logits);
        var draw = NextDouble() * Sum(count);
        var chosen = 0;
        for (; chosen < count - 1; chosen++)
        {
            draw -= _weights[chosen];
            if (draw < 0)
            {
                break;
            }
        }

        return _tokens.Length == 0 ? chosen : _tokens[chosen];
    }

    /// <summary>Fills tokens and weights with what the cuts leave: where one of them needs it the likeliest first, else in the vocabulary's order.</summary>
    /// <returns>How many.</returns>
    private int Cut(ReadOnlySpan<float> logits)
    {
        var highest = logits[RowMath.IndexOfMax(logits)];
        int count;
        if (_options.TopK is { } top && top < logits.Length)
        {
            count = Take(TopLogits.Select(logits, top, _keys), logits, highest);
            count = _options.TopP < 1 ? Nucleus(count, _options.TopP * Sum(count)) : count;
        }
        else
        {
            ReproducibleExp.Weights(logits, highest, _options.Temperature, _weights);
            count = logits.Length;
            for (var i = 0; i < _tokens.Length; i++)
            {
                _tokens[i] = i;
            }

            count = _options.TopP < 1 ? SortedNucleus(logits, highest, _options.TopP * Sum(count)) : count;
        }

        return _options.MinP > 0 ? AtLeast(_options.MinP, count) : count;
    }

    /// <summary>The fewest likeliest of all tokens that reach a sum, found without sorting the others.</summary>
    private int SortedNucleus(ReadOnlySpan<float> logits, float highest, double limit)
    {
        // Those above a threshold come before all others; it falls until they are enough.
        for (var threshold = 1.0 / 16; ; threshold *= threshold)
        {
            var (gathered, sum) = (0, 0.0);
            for (var start = 0; start < logits.Length; start += Vector512<double>.Count)
            {
                var end = Math.Min(start + Vector512<double>.Count, logits.Length);
                if (end - start == Vector512<double>.Count
                    && !Vector512.GreaterThanOrEqualAny(Vector512.LoadUnsafe(ref _weights[start]), Vector512.Create(threshold)))
                {
                    continue;
                }

                for (var i = start; i < end; i++)
                {
                    if (_weights[i] >= threshold)
                    {
                        _keys[gathered++] = TopLogits.Key(logits[i], i);
                        sum += _weights[i];
                    }
                }
            }

            if (sum >= limit || threshold == 0)
            {
                _keys.AsSpan(0, gathered).Sort();
                return Nucleus(Take(gathered, logits, highest), limit);
            }
        }
    }

    /// <summary>Turns the first keys into tokens and weights.</summary>
    private int Take(int count, ReadOnlySpan<float> logits, float highest)
    {
        for (var i = 0; i < count; i++)
        {
            _tokens[i] = TopLogits.Token(_keys[i]);
            _logits[i] = logits[_tokens[i]];
        }

        ReproducibleExp.Weights(_logits.AsSpan(0, count), highest, _options.Temperature, _weights);
        return count;
    }

    /// <summary>How many of the first weights reach a sum; at least one.</summary>
    private int Nucleus(int count, double limit)
    {
        var kept = 1;
        for (var sum = _weights[0]; kept < count && sum < limit; kept++)
        {
            sum += _weights[kept];
        }

        return kept;
    }

    /// <summary>Throws away what is less likely than a part of the likeliest.</summary>
    private int AtLeast(double least, int count)
    {
        var kept = 0;
        for (var i = 0; i < count; i++)
        {
            if (_weights[i] >= least)
            {
                (_tokens[kept], _weights[kept]) = (_tokens[i], _weights[i]);
                kept++;
            }
        }

        return kept;
    }

    private double Sum(int count)
    {
        // In eight chains wherever it runs, so that the sum is the same.
        var chains = Vector512<double>.Zero;
        var i = 0;
        for (; i <= count - Vector512<double>.Count; i += Vector512<double>.Count)
        {
            chains += Vector512.LoadUnsafe(ref _weights[i]);
        }

        double sum = 0;
        for (var chain = 0; chain < Vector512<double>.Count; chain++)
        {
            sum += chains[chain];
        }

        for (; i < count; i++)
        {
            sum += _weights[i];
        }

        return sum;
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
