using System.Diagnostics;
using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Evaluation;

/// <summary>
/// Measures how well a model predicts token sequences: every token but a sequence's first, from those before it. Sequences of similar length
/// run together, padded on the right; log-softmax in float32, sums in float64. Not safe for several threads on one model.
/// </summary>
/// <param name="model">The model; stays the caller's.</param>
public sealed class PerplexityEvaluator(CausalLanguageModel model)
{
    /// <summary>Logits computed at a time: 64 MiB of float32, so that a large vocabulary needs no large batch of them.</summary>
    private const long LogitsAtATime = 1 << 24;

    /// <summary>The most tokens, padding included, that run through the layers together; a longer sequence runs alone.</summary>
    public int TokensPerBatch { get; init; } = 4096;

    /// <summary>Measures the model.</summary>
    /// <param name="sequences">Token ids, each sequence of at least two and at most the model's context.</param>
    /// <param name="progress">Told after every batch.</param>
    /// <param name="cancellationToken">Seen between layers.</param>
    /// <returns>Perplexity, NLL and the sums of each sequence.</returns>
    /// <exception cref="EvaluationException">No sequences, one of a wrong length or with a token outside the vocabulary, or an NLL that is not finite.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public PerplexityResult Evaluate(
        IEnumerable<int[]> sequences, IProgress<EvaluationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        ArgumentOutOfRangeException.ThrowIfLessThan(TokensPerBatch, 1);
        int[][] all = [.. sequences];
        Check(all);

        var watch = Stopwatch.StartNew();
        var sums = new SequenceNll[all.Length];
        long total = all.Sum(sequence => sequence.Length - 1L);
        long done = 0;
        double sum = 0;
        using var noGradients = no_grad();
        foreach (int[] batch in Batches(all))
        {
            double[] batchSums = Evaluate([.. batch.Select(index => all[index])], cancellationToken);
            for (int row = 0; row < batch.Length; row++)
            {
                int index = batch[row];
                RequireFinite(batchSums[row], index);
                sums[index] = new SequenceNll(batchSums[row], all[index].Length - 1);
                done += sums[index].Predictions;
                sum += batchSums[row];
            }

            progress?.Report(new EvaluationProgress(done, total, sum / done, watch.Elapsed));
        }

        return new PerplexityResult { SequenceNlls = sums, Seconds = watch.Elapsed.TotalSeconds };
    }

    private static void RequireFinite(double sum, int index)
    {
        if (!double.IsFinite(sum))
        {
            throw new EvaluationException($"Sequence {index}: the model's negative log-likelihood is not finite: {sum}.");
        }
    }

    /// <summary>
    /// Indices of sequences, the longest first, so that the batch that needs most memory fails first. Those beyond LongRoPE's original context
    /// stay apart from others, whose rotation padding must not change.
    /// </summary>
    private IEnumerable<int[]> Batches(int[][] sequences)
    {
        int[] order = [.. Enumerable.Range(0, sequences.Length).OrderByDescending(index => sequences[index].Length)];
        for (int start = 0; start < order.Length;)
        {
            int length = sequences[order[start]].Length;
            bool isLong = model.Configuration.HasLongRotation(length);
            int alike = order.Skip(start).TakeWhile(index => model.Configuration.HasLongRotation(sequences[index].Length) == isLong).Count();
            int count = Math.Clamp(TokensPerBatch / length, 1, alike);
            yield return order[start..(start + count)];
            start += count;
        }
    }

    private void Check(int[][] sequences)
    {
        int context = model.Configuration.ContextLength;
        int vocabulary = model.Configuration.VocabularySize;
        if (sequences.Length == 0)
        {
            throw new EvaluationException("There is no text to evaluate: expected at least one sequence of two tokens, found none.");
        }

        for (int index = 0; index < sequences.Length; index++)
        {
            int[] sequence = sequences[index];
            if (sequence.Length < 2 || sequence.Length > context)
            {
                throw new EvaluationException($"Sequence {index} has a wrong length: expected from 2 tokens to the model's context of {context}, found {sequence.Length}.");
            }

            int outside = Array.FindIndex(sequence, token => (uint)token >= (uint)vocabulary);
            if (outside >= 0)
            {
                throw new EvaluationException(
                    $"Sequence {index}: token {sequence[outside]} is outside the model's vocabulary of {vocabulary}; the tokenizer is not the model's.");
            }
        }
    }

    /// <summary>The NLL sums of sequences that run together.</summary>
    private double[] Evaluate(int[][] sequences, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        Device device = model.GetWeight(Runtime.Models.ModelShapes.Embedding).device;
        int length = sequences[0].Length;
        var tokens = new long[sequences.Length * length]; // padded with token 0, which every vocabulary has and nothing reads
        var rows = new List<long>(tokens.Length); // the positions that predict, in the flattened batch
        var targets = new List<long>(tokens.Length);
        for (int row = 0; row < sequences.Length; row++)
        {
            int[] sequence = sequences[row];
            for (int column = 0; column < sequence.Length; column++)
            {
                tokens[(row * length) + column] = sequence[column];
                if (column > 0)
                {
                    rows.Add((row * length) + column - 1);
                    targets.Add(sequence[column]);
                }
            }
        }

        Tensor hidden = model.RunLayers(tensor(tokens, int64, device).reshape(sequences.Length, length), cancellationToken);
        Tensor predicting = hidden.reshape(-1, hidden.shape[^1]).index_select(0, tensor(rows.ToArray(), int64, device));
        double[] nll = TokenNll(predicting, tensor(targets.ToArray(), int64, device), cancellationToken);

        var sums = new double[sequences.Length];
        int next = 0;
        for (int row = 0; row < sequences.Length; row++)
        {
            for (int count = sequences[row].Length - 1; count > 0; count--)
            {
                sums[row] += nll[next++];
            }
        }

        return sums;
    }

    /// <summary>The NLL of each target under the logits of its row: [rows, hidden] and [rows] → rows values.</summary>
    private double[] TokenNll(Tensor hidden, Tensor targets, CancellationToken cancellationToken)
    {
        long count = hidden.shape[0];
        long chunk = Math.Max(1, LogitsAtATime / model.Configuration.VocabularySize);
        var nll = new double[count];
        for (long start = 0; start < count; start += chunk)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            long part = Math.Min(chunk, count - start);
            Tensor logits = model.Head(hidden.narrow(0, start, part)).to(float32);
            Tensor target = targets.narrow(0, start, part).unsqueeze(1);
            Tensor chosen = nn.functional.log_softmax(logits, 1).gather(1, target).to(float64).cpu();
            chosen.neg().data<double>().CopyTo(nll.AsSpan((int)start, (int)part));
        }

        return nll;
    }
}
