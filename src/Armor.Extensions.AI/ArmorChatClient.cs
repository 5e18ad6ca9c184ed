using System.Runtime.CompilerServices;
using Armor.Runtime.Chat;
using Armor.Runtime.Generation;
using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI;

/// <summary>
/// An <see cref="ArmorModel"/> as a chat client. Any number of requests may run at the same time. The client keeps the keys and values of its latest
/// conversation, so that the next turn of it computes only what is new.
/// </summary>
/// <remarks>
/// Of <see cref="ChatOptions"/> it follows Instructions, Temperature, TopP, TopK, Seed, MaxOutputTokens and StopSequences, and a
/// <see cref="GenerationOptions"/> from RawRepresentationFactory in place of <see cref="ArmorChatClientOptions.Generation"/>; a reasoning effort of
/// None keeps Qwen 3 from reasoning. What would change the answer and cannot be done (tools, images, JSON formats, penalties) is refused with a
/// <see cref="NotSupportedException"/>. What Qwen 3 and its like reason comes as <see cref="TextReasoningContent"/>.
/// </remarks>
public sealed class ArmorChatClient : IChatClient
{
    private const int DefaultMaxTokens = 1024;

    private readonly ArmorModel _model;
    private readonly bool _ownsModel;
    private readonly ArmorChatClientOptions _options;
    private readonly ChatClientMetadata _metadata;
    private GenerationSession? _idle;
    private volatile bool _isDisposed;

    /// <summary>Makes a client of a model.</summary>
    /// <param name="model">The model; stays the caller's to dispose of.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public ArmorChatClient(ArmorModel model, ArmorChatClientOptions? options = null)
        : this(model, options ?? new ArmorChatClientOptions(), ownsModel: false)
    {
    }

    private ArmorChatClient(ArmorModel model, ArmorChatClientOptions options, bool ownsModel)
    {
        ArgumentNullException.ThrowIfNull(model);
        options.Validate();
        _model = model;
        _options = options;
        _ownsModel = ownsModel;
        _metadata = new ChatClientMetadata("armor", defaultModelId: options.ModelId);
    }

    /// <summary>Loads a model for a client of its own, which disposes of it.</summary>
    /// <param name="folder">A dense Hugging Face folder or an ARMOR checkpoint.</param>
    /// <param name="options">Null for the defaults.</param>
    /// <param name="modelOptions">How the model is loaded; null for the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="Armor.Runtime.Checkpoints.CheckpointException">The folder breaks a rule, or has no chat template that is known.</exception>
    public static ArmorChatClient Load(string folder, ArmorChatClientOptions? options = null, ArmorModelOptions? modelOptions = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        options ??= new ArmorChatClientOptions();
        options.Validate();
        var model = ArmorModel.Load(folder, modelOptions);
        try
        {
            return new ArmorChatClient(
                model,
                options with { ModelId = options.ModelId ?? new DirectoryInfo(folder).Name, Template = options.Template ?? model.ChatTemplate },
                ownsModel: true);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An option is out of range, or the conversation has no turn or more tokens than the model's context.</exception>
    /// <exception cref="NotSupportedException">The request asks for what the model cannot do.</exception>
    public Task<ChatResponse> GetResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">An option is out of range, or the conversation has no turn or more tokens than the model's context.</exception>
    /// <exception cref="NotSupportedException">The request asks for what the model cannot do.</exception>
    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        var defaults = _options.Generation ?? (_model.RecommendedOptions ?? GenerationOptions.Sampled) with { MaxTokens = DefaultMaxTokens };
        var generation = RequestOptions.Map(this, options, defaults, _metadata.DefaultModelId);
        var turns = RequestTurns.Map(messages, options?.Instructions);
        var template = RequestOptions.Reason(_options.Template ?? _model.ChatTemplate, options?.Reasoning);
        return StreamAsync(turns, template, generation, cancellationToken);
    }

    /// <inheritdoc/>
    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(ChatClientMetadata) ? _metadata
            : serviceType.IsInstanceOfType(_model) ? _model
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Gives the memory of what was said back, and disposes of the model where the client has loaded it.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        Interlocked.Exchange(ref _idle, null)?.Dispose();
        if (_ownsModel)
        {
            _model.Dispose();
        }
    }

    /// <summary>Keeps the session for the next request; one that lay there, or that nobody will come for, gives its memory back, which on a card the collector does not see.</summary>
    private void Keep(GenerationSession session)
    {
        Interlocked.Exchange(ref _idle, session)?.Dispose();
        if (_isDisposed)
        {
            Interlocked.Exchange(ref _idle, null)?.Dispose();
        }
    }

    private async IAsyncEnumerable<ChatResponseUpdate> StreamAsync(
        IReadOnlyList<ChatTurn> turns,
        IChatTemplate template,
        GenerationOptions generation,
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var reasoning = template is ChatMLTemplate { LeavesOutReasoning: true } chatML ? new ReasoningSplitter(chatML.BeginsReasoning) : null;
        var (id, created) = (Guid.NewGuid().ToString("N"), DateTimeOffset.UtcNow);
        var session = Interlocked.Exchange(ref _idle, null) ?? _model.CreateSession();
        try
        {
            await foreach (var update in _model.AnswerAsync(turns, generation, template, session, cancellationToken).ConfigureAwait(false))
            {
                cancellationToken.ThrowIfCancellationRequested(); // at once, though further tokens may be there already
                var response = Response(update);
                if (response.Contents.Count > 0)
                {
                    yield return response;
                }
            }
        }
        finally
        {
            Keep(session);
        }

        ChatResponseUpdate Response(GenerationUpdate update)
        {
            var response = new ChatResponseUpdate
            {
                Role = ChatRole.Assistant,
                MessageId = id,
                ResponseId = id,
                CreatedAt = created,
                ModelId = _metadata.DefaultModelId,
                RawRepresentation = update,
            };
            foreach (var content in Contents(update.Text, update.FinishReason is not null))
            {
                response.Contents.Add(content);
            }

            if (update.FinishReason is { } reason)
            {
                response.FinishReason = reason is FinishReason.MaxTokens or FinishReason.ContextFull ? ChatFinishReason.Length : ChatFinishReason.Stop;
                response.Contents.Add(new UsageContent(new UsageDetails
                {
                    InputTokenCount = update.PromptTokens,
                    OutputTokenCount = update.GeneratedTokens,
                    TotalTokenCount = update.PromptTokens + update.GeneratedTokens,
                }));
            }

            return response;
        }

        IEnumerable<AIContent> Contents(string text, bool isLast) =>
            reasoning is not null ? reasoning.Append(text, isLast)
            : text.Length > 0 ? [new TextContent(text)]
            : [];
    }
}
