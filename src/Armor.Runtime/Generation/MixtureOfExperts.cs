using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// Each row goes through the experts that the router likes best, and their outputs are added by their weights: softmax over all experts, of
/// which the largest are kept. Rows of one expert are multiplied together; a row's sum runs in the experts' order, whatever rows are beside it.
/// </summary>
public sealed class MixtureOfExperts : FeedForward
{
    private readonly ExpertConfiguration _configuration;

    /// <summary>Joins a router and its experts.</summary>
    /// <param name="configuration">How many, and how they are chosen.</param>
    /// <param name="router">[experts, hidden].</param>
    /// <param name="experts">In order.</param>
    public MixtureOfExperts(ExpertConfiguration configuration, LinearWeight router, IReadOnlyList<GatedMlp> experts)
    {
        _configuration = configuration;
        (Router, Experts) = (router, experts);
    }

    /// <summary>[experts, hidden].</summary>
    public LinearWeight Router { get; }

    /// <summary>In order.</summary>
    public IReadOnlyList<GatedMlp> Experts { get; }

    internal override void Run(ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output)
    {
        var hidden = Router.Columns;
        var weights = buffers.RouterWeights.AsSpan(0, rows * _configuration.Count);
        Router.Multiply(input, rows, weights);
        for (var row = 0; row < rows; row++)
        {
            Choose(weights.Slice(row * _configuration.Count, _configuration.Count));
        }

        output.Clear();
        Span<int> chosen = stackalloc int[rows];
        for (var expert = 0; expert < Experts.Count; expert++)
        {
            var count = 0;
            for (var row = 0; row < rows; row++)
            {
                if (weights[(row * _configuration.Count) + expert] > 0)
                {
                    input.Slice(row * hidden, hidden).CopyTo(buffers.ExpertInput.AsSpan(count * hidden, hidden));
                    chosen[count++] = row;
                }
            }

            if (count == 0)
            {
                continue;
            }

            var added = buffers.ExpertOutput.AsSpan(0, count * hidden);
            Experts[expert].Run(buffers.ExpertInput.AsSpan(0, count * hidden), count, buffers, added);
            for (var i = 0; i < count; i++)
            {
                var weight = weights[(chosen[i] * _configuration.Count) + expert];
                RowMath.AddScaled(weight, added.Slice(i * hidden, hidden), output.Slice(chosen[i] * hidden, hidden));
            }
        }
    }

    /// <summary>From the router's scores of one row to the weights of its experts, 0 for those that it does not go through.</summary>
    /// <param name="scores">[experts], changed.</param>
    public void Choose(Span<float> scores)
    {
        RowMath.Softmax(scores);
        float sum = 0;
        for (var taken = 0; taken < _configuration.PerToken; taken++)
        {
            // Taken ones are negative meanwhile.
            var best = 0;
            for (var expert = 1; expert < scores.Length; expert++)
            {
                best = scores[expert] > scores[best] ? expert : best;
            }

            // An expert whose weight underflows to zero adds nothing, and is as good as not taken.
            sum += scores[best];
            scores[best] = -scores[best];
        }

        var scale = _configuration.NormalizesWeights ? 1 / sum : 1;
        for (var expert = 0; expert < scores.Length; expert++)
        {
            scores[expert] = scores[expert] < 0 ? -scores[expert] * scale : 0;
        }
    }
}
