using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.TinyModel.Sampling;

/// <summary>Draws whole sequences from a model at temperature 1, many side by side over one cache.</summary>
internal static class Sampler
{
    /// <summary>Draws sequences that start with the begin token.</summary>
    /// <param name="model">The model.</param>
    /// <param name="count">Number of sequences.</param>
    /// <param name="length">Tokens a sequence, the begin token included.</param>
    /// <param name="random">Where the draws come from.</param>
    /// <returns>The tokens without the begin token, up to and without an end token.</returns>
    public static List<int[]> Draw(CausalLanguageModel model, int count, int length, Random random)
    {
        var configuration = model.Configuration;
        var begin = configuration.BeginOfSequence!.Value;
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var cache = new KeyValueCache(configuration, count, length);
        var sequences = Enumerable.Range(0, count).Select(_ => new List<int>()).ToList();
        var last = Enumerable.Repeat((long)begin, count).ToArray();
        for (var position = 1; position < length; position++)
        {
            var probabilities = Probabilities(model, last, cache);
            for (var row = 0; row < count; row++)
            {
                var token = Pick(probabilities.AsSpan(row * configuration.VocabularySize, configuration.VocabularySize), random);
                last[row] = token;
                sequences[row].Add(token);
            }
        }

        return [.. sequences.Select(tokens => tokens.TakeWhile(token => !configuration.EndOfSequence.Contains(token) && token != begin).ToArray())];
    }

    private static float[] Probabilities(CausalLanguageModel model, long[] tokens, KeyValueCache cache)
    {
        using var scope = NewDisposeScope();
        var logits = model.Forward(tensor(tokens, [tokens.Length, 1]), cache);
        return logits.view(tokens.Length, -1).softmax(-1).data<float>().ToArray();
    }

    private static int Pick(ReadOnlySpan<float> probabilities, Random random)
    {
        var left = random.NextDouble();
        var token = 0;
        while (token + 1 < probabilities.Length && (left -= probabilities[token]) > 0)
        {
            token++;
        }

        return token;
    }
}
