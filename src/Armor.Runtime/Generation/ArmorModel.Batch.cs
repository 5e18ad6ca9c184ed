using System.Runtime.InteropServices;
using System.Text;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Decoding;

namespace Armor.Runtime.Generation;

/// <summary>Several continuations at once.</summary>
public sealed partial class ArmorModel
{
    /// <summary>Continues several texts, which share every pass over the weights.</summary>
    /// <param name="prompts">Each as in <see cref="Generate"/>.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="mostAtOnce">See <see cref="GenerateTokenBatch"/>.</param>
    /// <param name="progress">See <see cref="GenerateTokenBatch"/>.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One result a prompt, in their order.</returns>
    /// <inheritdoc cref="GenerateTokenBatch" path="/exception"/>
    public IReadOnlyList<GenerationResult> GenerateBatch(
        IReadOnlyList<string> prompts,
        GenerationOptions? options = null,
        int mostAtOnce = 16,
        IProgress<BatchUpdate>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        var tokenizer = Tokenizer;
        return GenerateTokenBatch([.. prompts.Select(prompt => tokenizer.Encode(prompt))], options, mostAtOnce, progress, cancellationToken);
    }

    /// <summary>
    /// Continues several sequences of tokens, which share every pass over the weights. A sequence that ends leaves the batch, and the next prompt takes
    /// its place. Each gets the tokens that it would get alone, as far as <see cref="ForwardBatch"/> gives the same logits.
    /// </summary>
    /// <param name="prompts">Each as in <see cref="Stream"/>.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none. The prompt of index i is continued with <see cref="GenerationOptions.Seed"/> + i.</param>
    /// <param name="mostAtOnce">How many sequences are under way at the same time at most: more share a pass, and need more memory.</param>
    /// <param name="progress">Told of every step of every sequence.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One result a prompt, in their order.</returns>
    /// <exception cref="ArgumentException">
    /// An option is out of range, or a prompt has no token, more than the context holds, or one outside the vocabulary; nothing was generated.
    /// </exception>
    /// <exception cref="InsufficientMemoryException">The sequences would not fit the machine's memory.</exception>
    /// <exception cref="CheckpointException">There are stop strings, and the folder has no tokenizer.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public IReadOnlyList<GenerationResult> GenerateTokenBatch(
        IReadOnlyList<IReadOnlyList<int>> prompts,
        GenerationOptions? options = null,
        int mostAtOnce = 16,
        IProgress<BatchUpdate>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(mostAtOnce);
        options ??= DefaultOptions;
        var jobs = prompts.Select((prompt, i) => Prepare(prompt, options with { Seed = unchecked(options.Seed + i) }, isText: true)).ToArray();
        CheckMemory(jobs.Select(job => job.MostPositions).OrderDescending().Take(mostAtOnce).Sum(positions => (long)positions));

        var results = new GenerationResult[jobs.Length];
        var active = new List<ActiveSequence>();
        var idle = new Stack<GenerationSession>();
        var most = Math.Min(mostAtOnce, jobs.Length);
        var logits = Continuation.IsGreedyBy(options) ? null : new float[most * Configuration.VocabularySize];
        var likeliest = new int[most];
        var started = 0;
        try
        {
            while (started < jobs.Length || active.Count > 0)
            {
                for (; started < jobs.Length && active.Count < mostAtOnce; started++)
                {
                    var sequence = new ActiveSequence(started, jobs[started], idle.Count > 0 ? idle.Pop() : CreateSession());
                    active.Add(sequence);
                    sequence.Session.Rewind(0);
                    Advance(jobs[started].Prompt, sequence.Session, Output(1), cancellationToken);
                    Accept(sequence, 0);
                }

                active.RemoveAll(sequence => sequence.HasEnded);
                if (active.Count > 0)
                {
                    int[] tokens = [.. active.Select(sequence => sequence.Tokens[^1])];
                    Advance(active.ConvertAll(sequence => sequence.Session), tokens, Output(tokens.Length), cancellationToken);
                    for (var row = 0; row < active.Count; row++)
                    {
                        Accept(active[row], row);
                    }

                    active.RemoveAll(sequence => sequence.HasEnded);
                }
            }

            return results;
        }
        finally
        {
            foreach (var session in idle.Union(active.Select(sequence => sequence.Session)))
            {
                session.Dispose();
            }
        }

        DecoderOutput Output(int rows) => logits is null
            ? DecoderOutput.OfLikeliest(likeliest.AsSpan(0, rows))
            : DecoderOutput.OfLogits(logits.AsSpan(0, rows * Configuration.VocabularySize));

        void Accept(ActiveSequence sequence, int row)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var update = logits is null
                ? sequence.Accept(likeliest[row])
                : sequence.Accept(logits.AsSpan(row * Configuration.VocabularySize, Configuration.VocabularySize));
            progress?.Report(new BatchUpdate(sequence.Index, update));
            if (update.FinishReason is { } reason)
            {
                results[sequence.Index] = new GenerationResult(sequence.Text.ToString(), sequence.Tokens, reason, update.PromptTokens);
                idle.Push(sequence.Session);
            }
        }
    }

    /// <summary>A sequence that has been started.</summary>
    private sealed class ActiveSequence(int index, Job job, GenerationSession session)
    {
        private readonly Continuation _continuation = job.CreateContinuation();

        public int Index { get; } = index;

        public GenerationSession Session { get; } = session;

        public List<int> Tokens { get; } = [];

        public StringBuilder Text { get; } = new();

        public bool HasEnded { get; private set; }

        public GenerationUpdate Accept(Span<float> logits) => Note(_continuation.Accept(logits));

        public GenerationUpdate Accept(int token) => Note(_continuation.Accept(token));

        private GenerationUpdate Note(GenerationUpdate update)
        {
            Text.Append(update.Text);
            HasEnded = update.FinishReason is not null;
            if (update.Token is { } token)
            {
                Tokens.Add(token);
            }

            return update;
        }
    }
}
