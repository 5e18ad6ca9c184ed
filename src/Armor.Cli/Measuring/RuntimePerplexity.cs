using System.Diagnostics;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;
using Armor.Runtime.Generation;

namespace Armor.Cli.Measuring;

/// <summary>
/// How well a model predicts token sequences as the runtime runs it, in the types in which it holds the weights: what <see cref="PerplexityEvaluator"/>
/// measures of the model in float32.
/// </summary>
internal static class RuntimePerplexity
{
    /// <summary>Logits computed at a time: 64 MiB of float32.</summary>
    private const int LogitsAtATime = 1 << 24;

    /// <summary>Measures the model.</summary>
    /// <param name="model">In the runtime.</param>
    /// <param name="sequences">Token ids, each sequence of at least two and at most the model's context.</param>
    /// <param name="steps">Told after every sequence.</param>
    /// <param name="cancellationToken">Seen between layers.</param>
    /// <exception cref="EvaluationException">There are no sequences, or an NLL is not finite.</exception>
    internal static PerplexityResult Measure(ArmorModel model, IReadOnlyList<int[]> sequences, IProgress<Step> steps, CancellationToken cancellationToken)
    {
        if (sequences.Count == 0)
        {
            throw new EvaluationException("There is no text to evaluate: expected at least one sequence of two tokens, found none.");
        }

        var watch = Stopwatch.StartNew();
        int vocabulary = model.Configuration.VocabularySize;
        int rows = Math.Max(1, LogitsAtATime / vocabulary);
        var logits = new float[(long)Math.Min(rows, sequences.Max(sequence => sequence.Length)) * vocabulary];
        GenerationSession session = model.CreateSession();
        List<SequenceNll> sums = [];
        foreach (int[] sequence in sequences)
        {
            session.Rewind(0);
            double sum = 0;
            for (int first = 0; first < sequence.Length - 1; first += rows)
            {
                int count = Math.Min(rows, sequence.Length - 1 - first);
                model.ForwardLogits(sequence.AsSpan(first, count), session, logits.AsSpan(0, count * vocabulary), cancellationToken);
                for (int row = 0; row < count; row++)
                {
                    sum += NegativeLogLikelihood(logits.AsSpan(row * vocabulary, vocabulary), sequence[first + row + 1]);
                }
            }

            if (!double.IsFinite(sum))
            {
                throw new EvaluationException($"Sequence {sums.Count}: the model's negative log-likelihood is not finite: {sum}.");
            }

            sums.Add(new SequenceNll(sum, sequence.Length - 1));
            steps.Report(new Step((double)sums.Count / sequences.Count, "runtime", null));
        }

        return new PerplexityResult { SequenceNlls = sums, Seconds = watch.Elapsed.TotalSeconds };
    }

    /// <summary>log Σ exp(l) − l of the target, in float64.</summary>
    private static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int target)
    {
        double largest = double.NegativeInfinity;
        foreach (float logit in logits)
        {
            largest = Math.Max(largest, logit);
        }

        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - largest);
        }

        return largest + Math.Log(sum) - logits[target];
    }
}
