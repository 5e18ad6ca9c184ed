using Armor.Runtime.Chat;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Kernels;
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
    private volatile IDecoder? _decoder;

    private ArmorModel(
        string folder,
        ModelConfiguration configuration,
        DecoderWeights weights,
        CpuBackend? ownBackend,
        IDecoder decoder,
        ModelTokenizer? tokenizer,
        GenerationOptions? recommendedOptions)
    {
        _weights = weights;
        _ownBackend = ownBackend;
        _folder = folder;
        _tokenizer = tokenizer;
        _decoder = decoder;
        Configuration = configuration;
        RecommendedOptions = recommendedOptions;
    }

    /// <summary>The model's sizes. Its ends of sequence are those of <c>config.json</c> and of <c>generation_config.json</c>.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>
    /// How the model's makers choose tokens, as <c>generation_config.json</c> says it: greedily without <c>do_sample</c>, else by its temperature
    /// (1 where it names none), top_k (50), top_p and min_p; with its repetition penalty. Null where the file is not there or says nothing of all that. Methods
    /// that are given no options take these, or <see cref="GenerationOptions.Greedy"/>; those that are given options take nothing from here.
    /// </summary>
    public GenerationOptions? RecommendedOptions { get; }

    /// <summary>What holds where a caller gives no options.</summary>
    internal GenerationOptions DefaultOptions => RecommendedOptions ?? GenerationOptions.Greedy;

    /// <summary>The model's own tokenizer.</summary>
    /// <exception cref="CheckpointException">The folder has none; the model then works on tokens only.</exception>
    // Where there is none, loading says so best.
    public ModelTokenizer Tokenizer => _tokenizer ?? ModelTokenizer.Load(_folder);

    /// <summary>How a conversation is written for the model, read from its folder when first asked for.</summary>
    /// <exception cref="CheckpointException">
    /// The folder has no tokenizer or no chat template, or one that <see cref="ChatTemplates.Load"/> does not know.
    /// </exception>
    public IChatTemplate ChatTemplate => field ??= ChatTemplates.Load(_folder, Tokenizer);

    /// <summary>
    /// Loads a dense Hugging Face folder or an ARMOR checkpoint; its files are closed again afterwards, but for the embedding's where
    /// <see cref="ArmorModelOptions.HeadType"/> leaves it there.
    /// </summary>
    /// <param name="folder">The folder with <c>config.json</c>, safetensors weights and, for text, the tokenizer.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">
    /// The configuration, <c>generation_config.json</c> or the tokenizer breaks a rule, or a tensor is missing, unexpected, of another shape, damaged, or not finite.
    /// </exception>
    /// <exception cref="NotSupportedException">
    /// The backend cannot multiply by a linear of the model, or runs whole models, but none of this configuration; or
    /// <see cref="ArmorModelOptions.HeadType"/> is given for a head that is pruned.
    /// </exception>
    public static ArmorModel Load(string folder, ArmorModelOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new ArmorModelOptions();
        options.Validate();
        var ownBackend = options.Backend is null ? new CpuBackend() : null;
        var backend = options.Backend ?? ownBackend!;
        DecoderWeights? weights = null;
        try
        {
            var tokenizer = ModelTokenizer.IsIn(folder) ? ModelTokenizer.Load(folder) : null;
            var configuration = ModelConfiguration.Load(folder);
            var recommended = RecommendedGeneration.Read(folder, configuration.VocabularySize);
            CheckDecoder(backend, configuration, folder);
            (configuration, weights) = WeightReader.Read(folder, backend, options, cancellationToken);
            configuration = configuration with { EndOfSequence = [.. configuration.EndOfSequence.Union(recommended.EndOfSequence)] };
            var decoder = backend is IDecoderBackend own
                ? own.CreateDecoder(configuration, weights, options.CacheType)
                : new ManagedDecoder(configuration, weights, (backend as IThreadedBackend)?.Threads, options.CacheType);
            return new ArmorModel(folder, configuration, weights, ownBackend, decoder, tokenizer, recommended.Options);
        }
        catch
        {
            weights?.Dispose();
            ownBackend?.Dispose();
            throw;
        }
    }

    /// <summary>Starts an empty sequence, for <c>ForwardLogits</c> or <see cref="Stream"/>.</summary>
    /// <param name="capacity">For how many tokens to make room at once; it grows beyond where it must.</param>
    /// <exception cref="ArgumentOutOfRangeException">The capacity is negative or above the context length.</exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for as many tokens.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public GenerationSession CreateSession(int capacity = 0)
    {
        var decoder = Decoder();
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(capacity, Configuration.ContextLength);
        var session = new GenerationSession(this, decoder.CreateSequence());
        try
        {
            session.Reserve(capacity);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Gives the weights' memory back. A generation under way ends with an <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        Interlocked.Exchange(ref _decoder, null)?.Dispose();
        _weights.Dispose();
        _ownBackend?.Dispose();
    }

    /// <summary>Refuses, before anything large is read, what a backend that runs whole models does not run.</summary>
    private static void CheckDecoder(IKernelBackend backend, ModelConfiguration configuration, string folder)
    {
        if (backend is IDecoderBackend own && own.SupportsDecoder(configuration) is { IsSupported: false } support)
        {
            throw new NotSupportedException($"The backend \"{backend.Name}\" does not run {folder}: {support.Reason}");
        }
    }
}
