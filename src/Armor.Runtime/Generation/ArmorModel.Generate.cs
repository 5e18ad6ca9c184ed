using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Generation;

/// <summary>Generation: all of it is <see cref="Stream"/>, as text or as tokens, and computed while it is read or on another thread.</summary>
public sealed partial class ArmorModel
{
    // How far an asynchronous generation runs ahead of its reader.
    private const int MostUnread = 16;

    /// <summary>Continues a text.</summary>
    /// <param name="prompt">
    /// The text; the tokenizer's start of sequence, where it has one, is put before it. Special tokens written out in it are only characters:
    /// for a chat template, encode it with <see cref="Tokenizer"/> and pass the tokens to <see cref="Stream"/>.
    /// </param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>
    /// The continuation in pieces, each as soon as it is there and never with half a character; computed while it is read. For the reason why it
    /// ends (<see cref="FinishReason"/>) see <see cref="Stream"/>.
    /// </returns>
    /// <exception cref="ArgumentException">An option is out of range, or the prompt has no token or more than the context holds.</exception>
    /// <exception cref="CheckpointException">The folder has no tokenizer.</exception>
    /// <exception cref="InsufficientMemoryException">The prompt and the tokens to come would not fit the machine's memory.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public IEnumerable<string> Generate(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return Stream(Tokenizer.Encode(prompt), options, null, cancellationToken).Where(update => update.Text.Length > 0).Select(update => update.Text);
    }

    /// <summary>
    /// Continues a text like <see cref="Generate"/>, off the caller's thread. The computation runs a few tokens ahead of the reader and then waits for it;
    /// leaving the loop ends it.
    /// </summary>
    /// <param name="prompt">See <see cref="Generate"/>.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>The continuation in pieces.</returns>
    /// <inheritdoc cref="Generate" path="/exception"/>
    public IAsyncEnumerable<string> GenerateAsync(string prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return StreamAsync(Tokenizer.Encode(prompt), options, null, cancellationToken).Where(update => update.Text.Length > 0).Select(update => update.Text);
    }

    /// <summary>Continues a sequence of tokens.</summary>
    /// <param name="prompt">At least one token; nothing is put before them.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>The tokens after the prompt, computed while they are read; a stop token that ends them is left out.</returns>
    /// <inheritdoc cref="Stream" path="/exception"/>
    public IEnumerable<int> GenerateTokens(
        IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        Start(prompt, options, null, isText: options?.StopStrings is { Count: > 0 }, cancellationToken)
            .Where(update => update.Token is not null).Select(update => update.Token!.Value);

    /// <summary>Continues a sequence of tokens like <see cref="GenerateTokens"/>, off the caller's thread as <see cref="GenerateAsync"/> does.</summary>
    /// <param name="prompt">At least one token; nothing is put before them.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>The tokens after the prompt.</returns>
    /// <inheritdoc cref="Stream" path="/exception"/>
    public IAsyncEnumerable<int> GenerateTokensAsync(
        IReadOnlyList<int> prompt, GenerationOptions? options = null, CancellationToken cancellationToken = default) =>
        RunAhead(stop => Start(prompt, options, null, isText: options?.StopStrings is { Count: > 0 }, stop), cancellationToken)
            .Where(update => update.Token is not null).Select(update => update.Token!.Value);

    /// <summary>Continues a sequence of tokens, and tells at the end why it ends.</summary>
    /// <param name="prompt">At least one token; nothing is put before them.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="session">
    /// A session to generate in, such as that of a chat whose next prompt starts like the last one's text: what the session and the prompt have in
    /// common at their start is not computed again, and the rest of the session is forgotten. It holds prompt and continuation afterwards, but for the
    /// last token. Null for a new one.
    /// </param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One update a token, computed while they are read; the last one, and only it, has a <see cref="GenerationUpdate.FinishReason"/>.</returns>
    /// <exception cref="ArgumentException">
    /// An option is out of range, the prompt has no token or more than the context holds, a token is outside the vocabulary, or the session is another
    /// model's.
    /// </exception>
    /// <exception cref="CheckpointException">There are stop strings, and the folder has no tokenizer.</exception>
    /// <exception cref="InsufficientMemoryException">The prompt and the tokens to come would not fit the machine's memory.</exception>
    /// <exception cref="InvalidOperationException">While it is read: the session is used elsewhere.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public IEnumerable<GenerationUpdate> Stream(
        IReadOnlyList<int> prompt,
        GenerationOptions? options = null,
        GenerationSession? session = null,
        CancellationToken cancellationToken = default) =>
        Start(prompt, options, session, isText: true, cancellationToken);

    /// <summary>Continues a sequence of tokens like <see cref="Stream"/>, off the caller's thread as <see cref="GenerateAsync"/> does.</summary>
    /// <param name="prompt">At least one token; nothing is put before them.</param>
    /// <param name="options">Null for <see cref="RecommendedOptions"/>, or greedy where there are none.</param>
    /// <param name="session">See <see cref="Stream"/>; not to be used elsewhere before the loop is left.</param>
    /// <param name="cancellationToken">Checked between layers and tokens.</param>
    /// <returns>One update a token; the last one, and only it, has a <see cref="GenerationUpdate.FinishReason"/>.</returns>
    /// <inheritdoc cref="Stream" path="/exception"/>
    public IAsyncEnumerable<GenerationUpdate> StreamAsync(
        IReadOnlyList<int> prompt,
        GenerationOptions? options = null,
        GenerationSession? session = null,
        CancellationToken cancellationToken = default) =>
        RunAhead(stop => Start(prompt, options, session, isText: true, stop), cancellationToken);

    private IEnumerable<GenerationUpdate> Start(
        IReadOnlyList<int> prompt, GenerationOptions? options, GenerationSession? session, bool isText, CancellationToken cancellationToken)
    {
        CheckOwner(session);
        var job = Prepare(prompt, options ?? DefaultOptions, isText);
        CheckMemory(job.MostPositions);
        return Run(job, session, cancellationToken);
    }

    /// <summary>Refuses what cannot be generated.</summary>
    private Job Prepare(IReadOnlyList<int> prompt, GenerationOptions options, bool isText)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        Decoder();
        options.Validate();
        int[] tokens = [.. prompt];
        if (tokens.Length == 0)
        {
            throw new ArgumentException("The prompt has no tokens; the model needs at least one to start from.", nameof(prompt));
        }

        CheckContext(tokens.Length, 0, nameof(prompt));
        CheckVocabulary(tokens, nameof(prompt));
        return new Job(Configuration, tokens, options, isText ? options.StopStrings.Count > 0 ? Tokenizer : _tokenizer : null);
    }

    private void CheckMemory(long positions) => Decoder().CheckFits(positions);

    private IEnumerable<GenerationUpdate> Run(Job job, GenerationSession? session, CancellationToken cancellationToken)
    {
        using var own = session is null ? CreateSession() : null;
        session ??= own!;
        var continuation = job.CreateContinuation();
        var logits = continuation.IsGreedy ? [] : new float[Configuration.VocabularySize];
        session.Rewind(Math.Min(session.CommonLength(job.Prompt), job.Prompt.Length - 1));
        var next = job.Prompt[session.Length..];
        var one = new int[1];
        for (var length = job.Prompt.Length; ; length++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (session.Length + next.Length != length)
            {
                throw new InvalidOperationException("The session was used elsewhere while it generates.");
            }

            var update = Next(next, session, continuation, logits, cancellationToken);
            yield return update;
            if (update.FinishReason is not null)
            {
                yield break;
            }

            one[0] = update.Token!.Value;
            next = one;
        }
    }

    /// <summary>Computes tokens of a session and chooses the next one.</summary>
    private GenerationUpdate Next(
        ReadOnlySpan<int> tokens, GenerationSession session, Continuation continuation, Span<float> logits, CancellationToken cancellationToken)
    {
        if (!continuation.IsGreedy)
        {
            Advance(tokens, session, DecoderOutput.OfLogits(logits), cancellationToken);
            return continuation.Accept(logits);
        }

        Span<int> likeliest = stackalloc int[1];
        Advance(tokens, session, DecoderOutput.OfLikeliest(likeliest), cancellationToken);
        return continuation.Accept(likeliest[0]);
    }

    private static IAsyncEnumerable<GenerationUpdate> RunAhead(
        Func<CancellationToken, IEnumerable<GenerationUpdate>> start, CancellationToken cancellationToken)
    {
        // What cannot be generated is refused here, before anything is awaited; the sequence is made anew for each reader.
        start(cancellationToken);
        return Read(start, cancellationToken, CancellationToken.None);

        static async IAsyncEnumerable<GenerationUpdate> Read(
            Func<CancellationToken, IEnumerable<GenerationUpdate>> start,
            CancellationToken callers,
            [EnumeratorCancellation] CancellationToken readers)
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(callers, readers);
            var updates = Channel.CreateBounded<GenerationUpdate>(
                new BoundedChannelOptions(MostUnread) { SingleReader = true, SingleWriter = true });
            var writer = Task.Run(() => WriteAsync(start, updates.Writer, stop.Token), CancellationToken.None);
            try
            {
                await foreach (var update in updates.Reader.ReadAllAsync(stop.Token).ConfigureAwait(false))
                {
                    yield return update;
                }
            }
            finally
            {
                // The model and the session are free again once the loop is left.
                await stop.CancelAsync().ConfigureAwait(false);
                await writer.ConfigureAwait(false);
            }
        }
    }

    /// <summary>Never fails: what goes wrong comes out at the reader.</summary>
    private static async Task WriteAsync(
        Func<CancellationToken, IEnumerable<GenerationUpdate>> start, ChannelWriter<GenerationUpdate> writer, CancellationToken cancellationToken)
    {
        try
        {
            foreach (var update in start(cancellationToken))
            {
                await writer.WriteAsync(update, cancellationToken).ConfigureAwait(false);
            }

            writer.Complete();
        }
        catch (Exception exception)
        {
            writer.Complete(exception);
        }
    }

    /// <summary>A prompt to be continued.</summary>
    /// <param name="Configuration">The model's.</param>
    /// <param name="Prompt">Its tokens.</param>
    /// <param name="Options">Valid ones.</param>
    /// <param name="Tokenizer">Null where no text is wanted.</param>
    private sealed record Job(ModelConfiguration Configuration, int[] Prompt, GenerationOptions Options, ModelTokenizer? Tokenizer)
    {
        /// <summary>How many positions the sequence may come to.</summary>
        public int MostPositions => (int)Math.Min(Configuration.ContextLength, (long)Prompt.Length + Options.MaxTokens);

        public Continuation CreateContinuation() =>
            new(Configuration, Prompt, Options, Tokenizer is null ? null : new GeneratedText(Tokenizer, Prompt, Options.StopStrings));
    }
}
