using System.Text;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>
/// Scores by Armor.Runtime. Each worker has a session; what a continuation has in common with the one that the worker scored before stays in its cache, and a few-shot
/// prompt that all rows of a task begin with is computed once a worker. For one call at a time.
/// </summary>
public sealed class ArmorScoringModel : IScoringModel, IDisposable
{
    private readonly ArmorModel model;
    private readonly Worker[] workers;

    /// <summary>Creates the scorer.</summary>
    /// <param name="model">The model; stays the caller's.</param>
    /// <param name="workers">
    /// How many questions are answered at a time. For a small model a worker a core is fastest, with a backend of one thread; for a large one the backend's
    /// own threads are.
    /// </param>
    public ArmorScoringModel(ArmorModel model, int workers = 1)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        this.model = model;
        this.workers = [.. Enumerable.Range(0, workers).Select(_ => new Worker(model))];
    }

    /// <summary>Whether what continuations have in common is computed once; off only to measure what that saves.</summary>
    /// <value>The default is true.</value>
    public bool SharesPrefixes { get; init; } = true;

    /// <inheritdoc/>
    public ModelConfiguration Configuration => model.Configuration;

    /// <inheritdoc/>
    public ModelTokenizer Tokenizer => model.Tokenizer;

    /// <inheritdoc/>
    public IReadOnlyList<ContinuationScore> Score(IReadOnlyList<TokenContinuation> continuations, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(continuations);
        ContinuationChecks.Check(continuations, Configuration);
        var scores = new ContinuationScore[continuations.Count];
        Range[] runs = [.. ContinuationChecks.Runs(continuations)];
        Divide(runs.Length, cancellationToken, (worker, run) =>
        {
            (int start, int count) = runs[run].GetOffsetAndLength(continuations.Count);
            for (int index = start; index < start + count; index++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                scores[index] = ContinuationChecks.RequireFinite(worker.Score(continuations[index], SharesPrefixes, cancellationToken), index);
            }
        });
        return scores;
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> Generate(IReadOnlyList<TokenPrompt> prompts, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        var texts = new string[prompts.Count];
        Divide(prompts.Count, cancellationToken, (worker, index) => texts[index] = worker.Generate(prompts[index], SharesPrefixes, cancellationToken));
        return texts;
    }

    /// <summary>Gives the memory of the workers' keys and values back; on a card the collector does not see it. The model stays.</summary>
    public void Dispose() => Array.ForEach(workers, worker => worker.Dispose());

    /// <summary>Does all pieces of a work, each by the worker that is free next.</summary>
    private void Divide(int pieces, CancellationToken cancellationToken, Action<Worker, int> work)
    {
        int next = -1;
        if (workers.Length == 1 || pieces < 2)
        {
            Run(workers[0]);
            return;
        }

        try
        {
            Parallel.ForEach(workers, new ParallelOptions { MaxDegreeOfParallelism = workers.Length, CancellationToken = cancellationToken }, Run);
        }
        catch (AggregateException exception) when (exception.InnerExceptions is [_] || exception.InnerExceptions.All(each => each is OperationCanceledException))
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }

        void Run(Worker worker)
        {
            while (Interlocked.Increment(ref next) is var piece && piece < pieces)
            {
                work(worker, piece);
            }
        }
    }

    private sealed class Worker(ArmorModel model) : IDisposable
    {
        /// <summary>How many rows of logits are held at a time.</summary>
        private const int RowsAtATime = 64;

        private readonly GenerationSession session = model.CreateSession();
        private int[] held = []; // the tokens in the session
        private float[] logits = [];
        private int logitRows; // those of the last tokens held

        public ContinuationScore Score(TokenContinuation continuation, bool sharesPrefixes, CancellationToken cancellationToken)
        {
            ReadOnlySpan<int> tokens = continuation.Tokens.Span;
            ReadOnlySpan<int> read = tokens[..^1];
            int first = continuation.ContextLength();
            var sum = new LikelihoodSum(model.Configuration.VocabularySize);
            if (sharesPrefixes && continuation.Scored <= logitRows && read.SequenceEqual(held))
            {
                Add(tokens[(first + 1)..], logits.AsSpan((logitRows - continuation.Scored) * model.Configuration.VocabularySize), ref sum);
                return sum.Score;
            }

            int done = sharesPrefixes ? Math.Min(first, read.CommonPrefixLength(held)) : 0;
            session.Rewind(done);
            held = [];
            logitRows = 0;
            for (int scored = 0; scored < continuation.Scored;)
            {
                int rows = Math.Min(RowsAtATime, continuation.Scored - scored);
                int end = first + scored + rows;
                Span<float> part = Room(rows);
                model.ForwardLogits(read[done..end], session, part, cancellationToken);
                Add(tokens.Slice(first + scored + 1, rows), part, ref sum);
                done = end;
                scored += rows;
                logitRows = rows;
            }

            held = read.ToArray();
            return sum.Score;
        }

        public void Dispose() => session.Dispose();

        public string Generate(TokenPrompt prompt, bool sharesPrefixes, CancellationToken cancellationToken)
        {
            held = [];
            logitRows = 0;
            if (!sharesPrefixes)
            {
                session.Rewind(0);
            }

            var options = new GenerationOptions { MaxTokens = prompt.MaxTokens, StopStrings = prompt.StopStrings };
            var text = new StringBuilder();
            foreach (GenerationUpdate update in model.Stream([.. prompt.Tokens.Span], options, session, cancellationToken))
            {
                text.Append(update.Text);
            }

            return text.ToString();
        }

        private void Add(ReadOnlySpan<int> targets, Span<float> rows, ref LikelihoodSum sum)
        {
            int vocabulary = model.Configuration.VocabularySize;
            for (int row = 0; row < targets.Length; row++)
            {
                sum.Add(rows.Slice(row * vocabulary, vocabulary), targets[row]);
            }
        }

        private Span<float> Room(int rows)
        {
            int size = rows * model.Configuration.VocabularySize;
            if (logits.Length < size)
            {
                logits = new float[size];
            }

            return logits.AsSpan(0, size);
        }
    }
}
