using System.Diagnostics;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;
using Armor.Core.Evaluation.Tasks.Scoring;
using Armor.Runtime.Generation;

namespace Armor.Cli.Measuring;

/// <summary>
/// How well a model predicts token sequences as the runtime runs it, in the types in which it holds the weights: what <see cref="PerplexityEvaluator"/>
/// measures of the model in float32.
/// </summary>
internal static class RuntimePerplexity
{
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
        using var scoring = new ArmorScoringModel(model);
        List<SequenceNll> sums = [];
        foreach (int[] sequence in sequences)
        {
            // One at a time, for the progress.
            ContinuationScore score = scoring.Score([new TokenContinuation(sequence, sequence.Length - 1)], cancellationToken)[0];
            sums.Add(new SequenceNll(-score.LogLikelihood, sequence.Length - 1));
            steps.Report(new Step((double)sums.Count / sequences.Count, "runtime", null));
        }

        return new PerplexityResult { SequenceNlls = sums, Seconds = watch.Elapsed.TotalSeconds };
    }
}
