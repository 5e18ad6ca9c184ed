using System.Globalization;
using Armor.Runtime.Chat;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Generation;

/// <summary>
/// A language model ready to run: weights, tokenizer and forward pass, in managed code only. Any number of generations may run on it at the
/// same time, each on its own thread.
/// </summary>
public sealed partial class ArmorModel : IDisposable
{
    private readonly string _folder;
    private readonly ModelTokenizer? _tokenizer;
    private readonly DecoderWeights _weights;
    private readonly CpuBackend? _ownBackend;
    private volatile ForwardPass? _forward;

    private ArmorModel(
        string folder, ModelConfiguration configuration, DecoderWeights weights, CpuBackend? ownBackend, ForwardPass forward, ModelTokenizer? tokenizer)
    {
        _weights = weights;
        _ownBackend = ownBackend;
        _folder = folder;
        _tokenizer = tokenizer;
        _forward = forward;
        Configuration = configuration;
    }

    /// <summary>The model's sizes.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>The model's own tokenizer.</summary>
    /// <exception cref="CheckpointException">The folder has none; the model then works on tokens only.</exception>
    // Where there is none, loading says so best.
    public ModelTokenizer Tokenizer => _tokenizer ?? ModelTokenizer.Load(_folder);

    /// <summary>How a conversation is written for the model, read from its folder when first asked for.</summary>
    /// <exception cref="CheckpointException">
    /// The folder has no tokenizer or no chat template, or one that <see cref="ChatTemplates.Load"/> does not know.
    /// </exception>
    public IChatTemplate ChatTemplate => field ??= ChatTemplates.Load(_folder, Tokenizer);

    /// <summary>Loads a dense Hugging Face folder or an ARMOR checkpoint; its files are closed again afterwards.</summary>
    /// <param name="folder">The folder with <c>config.json</c>, safetensors weights and, for text, the tokenizer.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">
    /// The configuration or the tokenizer breaks a rule, or a tensor is missing, unexpected, of another shape, damaged, or not finite.
    /// </exception>
    /// <exception cref="NotSupportedException">The backend cannot multiply by a linear of the model.</exception>
    public static ArmorModel Load(string folder, ArmorModelOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new ArmorModelOptions();
        options.Validate();
        var ownBackend = options.Backend is null ? new CpuBackend() : null;
        try
        {
            var tokenizer = ModelTokenizer.IsIn(folder) ? ModelTokenizer.Load(folder) : null;
            var (configuration, weights) = WeightReader.Read(folder, options.Backend ?? ownBackend!, options.WeightType, cancellationToken);
            return new ArmorModel(folder, configuration, weights, ownBackend, new ForwardPass(configuration, weights), tokenizer);
        }
        catch
        {
            ownBackend?.Dispose();
            throw;
        }
    }

    /// <summary>Starts an empty sequence for <see cref="ForwardLogits"/>.</summary>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public GenerationSession CreateSession()
    {
        ObjectDisposedException.ThrowIf(_forward is null, this);
        return new GenerationSession(this);
    }

    /// <summary>Appends tokens to a session and computes the logits that follow the last of them.</summary>
    /// <param name="tokens">The tokens after those that the session has; they go through the layers together.</param>
    /// <param name="session">A session of this model; on an exception it stays as it was.</param>
    /// <param name="logits">
    /// [rows, vocabulary]; its length decides how many rows, 0 to the number of tokens. The last row belongs to the last token.
    /// </param>
    /// <param name="cancellationToken">Checked between layers.</param>
    /// <exception cref="ArgumentException">
    /// The session is another model's, the tokens do not fit the context, a token is outside the vocabulary, or the length of the logits is
    /// not that of 0 to <c>tokens.Length</c> rows.
    /// </exception>
    /// <exception cref="InvalidOperationException">Another thread computes in the session.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public void ForwardLogits(ReadOnlySpan<int> tokens, GenerationSession session, Span<float> logits, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(session);
        var forward = _forward;
        ObjectDisposedException.ThrowIf(forward is null, this);
        CheckOwner(session);
        session.Enter();
        try
        {
            Append(tokens, session, logits, forward, cancellationToken);
        }
        finally
        {
            session.Exit();
        }
    }

    /// <summary>Gives the weights' memory back. A generation under way ends with an <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        _forward = null;
        _weights.Dispose();
        _ownBackend?.Dispose();
    }

    private void Append(
        ReadOnlySpan<int> tokens, GenerationSession session, Span<float> logits, ForwardPass forward, CancellationToken cancellationToken)
    {
        CheckTokens(tokens, session.Length, nameof(tokens));
        var vocabulary = Configuration.VocabularySize;
        if (logits.Length % vocabulary != 0 || logits.Length / vocabulary > tokens.Length)
        {
            throw new ArgumentException(
                $"The logits must be 0 to {tokens.Length} rows of {vocabulary} values; found {logits.Length} values.", nameof(logits));
        }

        Rotate(session, Configuration.HasLongRotation(session.Length + tokens.Length), forward, cancellationToken);
        var firstWanted = tokens.Length - (logits.Length / vocabulary);
        for (var start = 0; start < tokens.Length; start += ForwardBuffers.MostRows)
        {
            var piece = tokens.Slice(start, Math.Min(ForwardBuffers.MostRows, tokens.Length - start));
            forward.Run(piece, session.Length + start, session.IsLong == true, session.Cache, session.Buffers, cancellationToken);
            var skipped = Math.Max(0, firstWanted - start);
            if (skipped < piece.Length)
            {
                var rows = piece.Length - skipped;
                forward.ComputeLogits(skipped, rows, session.Buffers, logits[..(rows * vocabulary)]);
                logits = logits[(rows * vocabulary)..];
            }
        }

        session.Append(tokens);
    }

    /// <summary>Sees that a session's keys are rotated as the sequence now demands, which may take a pass over all its tokens.</summary>
    private static void Rotate(GenerationSession session, bool isLong, ForwardPass forward, CancellationToken cancellationToken)
    {
        if (session.IsLong == isLong)
        {
            return;
        }

        session.IsLong = null;
        int[] tokens = [.. session.Tokens];
        for (var start = 0; start < tokens.Length; start += ForwardBuffers.MostRows)
        {
            var piece = tokens.AsSpan(start, Math.Min(ForwardBuffers.MostRows, tokens.Length - start));
            forward.Run(piece, start, isLong, session.Cache, session.Buffers, cancellationToken);
        }

        session.IsLong = isLong;
    }

    private void CheckOwner(GenerationSession? session)
    {
        if (session is not null && session.Model != this)
        {
            throw new ArgumentException("The session belongs to another model.", nameof(session));
        }
    }

    private void CheckTokens(ReadOnlySpan<int> tokens, int before, string parameter)
    {
        if (tokens.Length > Configuration.ContextLength - before)
        {
            var taken = before == 0 ? string.Empty : string.Create(CultureInfo.InvariantCulture, $", of which {before} are taken");
            throw new ArgumentException(
                $"{tokens.Length} tokens do not fit: the model's context is {Configuration.ContextLength} tokens{taken}.", parameter);
        }

        for (var i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)Configuration.VocabularySize)
            {
                throw new ArgumentOutOfRangeException(
                    parameter, tokens[i], $"Token {i} is outside the vocabulary of {Configuration.VocabularySize} tokens of {_folder}.");
            }
        }
    }
}
