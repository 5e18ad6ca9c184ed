using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>
/// Scores by the TorchSharp model, on its device. A question's context goes through the layers once, and its choices together after it; questions of a single
/// continuation are padded to batches. For one call at a time.
/// </summary>
/// <param name="model">The model; stays the caller's.</param>
/// <param name="tokenizer">The model's own tokenizer.</param>
public sealed class TorchScoringModel(CausalLanguageModel model, ModelTokenizer tokenizer) : IScoringModel, IDisposable
{
    private const long LogitsAtATime = 1 << 24;

    private KeyValueCache? cache; // of a single sequence, which the next question may begin with too
    private int[] held = [];

    /// <summary>The most tokens, padding included, that run through the layers together; a longer sequence runs alone.</summary>
    public int TokensPerBatch { get; init; } = 4096;

    /// <inheritdoc/>
    public ModelConfiguration Configuration => model.Configuration;

    /// <inheritdoc/>
    public ModelTokenizer Tokenizer { get; } = tokenizer;

    private Device Place => model.GetWeight(ModelShapes.Embedding).device;

    /// <inheritdoc/>
    public IReadOnlyList<ContinuationScore> Score(IReadOnlyList<TokenContinuation> continuations, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(continuations);
        ContinuationChecks.Check(continuations, Configuration);
        var scores = new ContinuationScore[continuations.Count];
        using var noGradients = no_grad();
        var alone = new List<int>();
        foreach (Range run in ContinuationChecks.Runs(continuations))
        {
            (int start, int count) = run.GetOffsetAndLength(continuations.Count);
            int[] indices = [.. Enumerable.Range(start, count)];
            // LongRoPE rotates all keys anew beyond its original context, which no cache survives.
            if (count == 1 || indices.Any(index => Configuration.HasLongRotation(continuations[index].Tokens.Length)))
            {
                alone.AddRange(indices);
                continue;
            }

            ScoreTogether(indices, continuations, scores, cancellationToken);
        }

        foreach (int[] batch in Batches(alone, continuations))
        {
            using var scope = NewDisposeScope();
            Read(Padded(batch, continuations, 0), 0, null, batch, continuations, scores, cancellationToken);
        }

        return scores;
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Generate(IReadOnlyList<TokenPrompt> prompts, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        return [.. prompts.Select(prompt => Generate(prompt, cancellationToken))];
    }

    /// <summary>Frees the cache.</summary>
    public void Dispose() => cache?.Dispose();

    private string Generate(TokenPrompt prompt, CancellationToken cancellationToken)
    {
        using var noGradients = no_grad();
        using var own = new KeyValueCache(Configuration, 1, Math.Min(Configuration.ContextLength, prompt.Tokens.Length + prompt.MaxTokens), Type(), Place);
        int[] next = prompt.Tokens.ToArray();
        var answer = new List<int>();
        string text = string.Empty;
        while (answer.Count < prompt.MaxTokens)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor hidden = model.RunLayers(tensor(next, int64, Place).unsqueeze(0), cancellationToken, own);
            int token = (int)model.Head(hidden.narrow(1, next.Length - 1, 1)).argmax(-1).item<long>();
            if (Configuration.EndOfSequence.Contains(token))
            {
                break;
            }

            answer.Add(token);
            text = Tokenizer.Decode(answer);
            int stop = prompt.StopStrings.Select(each => text.IndexOf(each, StringComparison.Ordinal)).Where(place => place >= 0).DefaultIfEmpty(-1).Min();
            if (stop >= 0)
            {
                return text[..stop];
            }

            if (own.Length == own.Capacity)
            {
                break;
            }

            next = [token];
        }

        return text;
    }

    private void ScoreTogether(
        int[] indices, IReadOnlyList<TokenContinuation> continuations, ContinuationScore[] scores, CancellationToken cancellationToken)
    {
        int[] shortest = continuations[indices.MinBy(index => continuations[index].ContextLength())].Tokens.ToArray();
        int common = indices.Min(index => Math.Min(continuations[index].ContextLength(), shortest.AsSpan().CommonPrefixLength(continuations[index].Tokens.Span)));
        Extend(shortest[..common], cancellationToken);
        int longest = indices.Max(index => continuations[index].Tokens.Length - 1 - common);
        foreach (int[] part in indices.Chunk(Math.Max(1, TokensPerBatch / longest)))
        {
            using var scope = NewDisposeScope();
            using KeyValueCache copies = cache!.Repeat(part.Length, common + longest);
            Read(Padded(part, continuations, common), common, copies, part, continuations, scores, cancellationToken);
        }
    }

    /// <summary>Makes the cache hold these tokens and no others.</summary>
    private void Extend(int[] tokens, CancellationToken cancellationToken)
    {
        if (cache is null || cache.Capacity < tokens.Length)
        {
            cache?.Dispose();
            cache = new KeyValueCache(Configuration, 1, Configuration.ContextLength, Type(), Place);
            held = [];
        }

        int same = tokens.AsSpan().CommonPrefixLength(held);
        cache.Rewind(same);
        held = tokens[..same];
        if (same < tokens.Length)
        {
            using var scope = NewDisposeScope();
            model.RunLayers(tensor(tokens[same..], int64, Place).unsqueeze(0), cancellationToken, cache);
            held = tokens;
        }
    }

    /// <summary>Runs rows that stand at the same position and scores them.</summary>
    private void Read(
        Tensor tokens,
        int position,
        KeyValueCache? before,
        int[] indices,
        IReadOnlyList<TokenContinuation> continuations,
        ContinuationScore[] scores,
        CancellationToken cancellationToken)
    {
        Tensor hidden = model.RunLayers(tokens, cancellationToken, before);
        var rows = new List<long>();
        var targets = new List<long>();
        foreach ((int row, int index) in indices.Index())
        {
            TokenContinuation continuation = continuations[index];
            for (int place = continuation.ContextLength(); place < continuation.Tokens.Length - 1; place++)
            {
                rows.Add((row * tokens.shape[1]) + place - position);
                targets.Add(continuation.Tokens.Span[place + 1]);
            }
        }

        Tensor predicting = hidden.reshape(-1, hidden.shape[^1]).index_select(0, tensor(rows.ToArray(), int64, Place));
        (double[] likelihoods, bool[] greedy) = Likelihoods(predicting, tensor(targets.ToArray(), int64, Place));
        int next = 0;
        foreach (int index in indices)
        {
            int count = continuations[index].Scored;
            var score = new ContinuationScore(likelihoods.AsSpan(next, count).ToArray().Sum(), !greedy.AsSpan(next, count).Contains(false));
            scores[index] = ContinuationChecks.RequireFinite(score, index);
            next += count;
        }
    }

    private (double[] Likelihoods, bool[] Greedy) Likelihoods(Tensor hidden, Tensor targets)
    {
        long chunk = Math.Max(1, LogitsAtATime / Configuration.VocabularySize);
        var (likelihoods, greedy) = (new List<double>(), new List<bool>());
        for (long start = 0; start < hidden.shape[0]; start += chunk)
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(chunk, hidden.shape[0] - start);
            Tensor logits = model.Head(hidden.narrow(0, start, count)).to(float32);
            Tensor target = targets.narrow(0, start, count);
            likelihoods.AddRange(nn.functional.log_softmax(logits, 1).gather(1, target.unsqueeze(1)).to(float64).cpu().data<double>());
            greedy.AddRange((logits.argmax(1) == target).cpu().data<bool>());
        }

        return ([.. likelihoods], [.. greedy]);
    }

    /// <summary>The tokens that the model reads from a position on, [indices, longest], padded with token 0, which nothing reads.</summary>
    private Tensor Padded(int[] indices, IReadOnlyList<TokenContinuation> continuations, int position)
    {
        int longest = indices.Max(index => continuations[index].Tokens.Length - 1 - position);
        var tokens = new long[indices.Length * longest];
        foreach ((int row, int index) in indices.Index())
        {
            ReadOnlySpan<int> own = continuations[index].Tokens.Span[position..^1];
            for (int column = 0; column < own.Length; column++)
            {
                tokens[(row * longest) + column] = own[column];
            }
        }

        return tensor(tokens, int64, Place).reshape(indices.Length, longest);
    }

    /// <summary>Sequences of like lengths, the longest first; those beyond LongRoPE's original context stay apart, whose rotation padding must not change.</summary>
    private IEnumerable<int[]> Batches(List<int> indices, IReadOnlyList<TokenContinuation> continuations)
    {
        int[] order = [.. indices.OrderByDescending(index => continuations[index].Tokens.Length)];
        for (int start = 0; start < order.Length;)
        {
            int length = continuations[order[start]].Tokens.Length - 1;
            bool isLong = Configuration.HasLongRotation(length);
            int alike = order.Skip(start).TakeWhile(index => Configuration.HasLongRotation(continuations[index].Tokens.Length - 1) == isLong).Count();
            int count = Math.Clamp(TokensPerBatch / length, 1, alike);
            yield return order[start..(start + count)];
            start += count;
        }
    }

    private ScalarType Type() => model.ComputeType ?? model.GetWeight(ModelShapes.Embedding).dtype;
}
