using System.Text.Json;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Models;

/// <summary>
/// What a <c>config.json</c> says of a decoder-only model, normalised over the families: every size is checked, and every default of the
/// family is filled in.
/// </summary>
public sealed partial record ModelConfiguration
{
    /// <summary>The family; it decides names, biases and norms.</summary>
    public required ModelFamily Family { get; init; }

    /// <summary>Width of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Width between <c>up_proj</c> and <c>down_proj</c>, of one expert where there are several.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Number of decoder layers.</summary>
    public required int LayerCount { get; init; }

    /// <summary>Number of query heads.</summary>
    public required int AttentionHeadCount { get; init; }

    /// <summary>Number of key and value heads; divides <see cref="AttentionHeadCount"/>.</summary>
    public required int KeyValueHeadCount { get; init; }

    /// <summary>Size of one head (<c>head_dim</c>); even. Heads × head size may differ from <see cref="HiddenSize"/>.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Number of tokens.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Longest sequence, in tokens (<c>max_position_embeddings</c>).</summary>
    public required int ContextLength { get; init; }

    /// <summary>The constant under the root of every RMS norm.</summary>
    public float NormEpsilon { get; init; } = 1e-6f;

    /// <summary>Base of the rotary wavelengths.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Stretch of the rotary embedding, or null for none.</summary>
    public RopeScaling? RopeScaling { get; init; }

    /// <summary>True where the head shares the matrix of the token embedding.</summary>
    public bool TieWordEmbeddings { get; init; }

    /// <summary>True where <c>q_proj</c>, <c>k_proj</c> and <c>v_proj</c> have biases.</summary>
    public bool QueryKeyValueBias { get; init; }

    /// <summary>True where <c>o_proj</c> has a bias.</summary>
    public bool OutputBias { get; init; }

    /// <summary>True where the MLP's linears have biases.</summary>
    public bool MlpBias { get; init; }

    /// <summary>True where queries and keys go through an RMS norm over the head before rotation.</summary>
    public bool QueryKeyNorm { get; init; }

    /// <summary>The token that starts a sequence, where the file names one.</summary>
    public int? BeginOfSequence { get; init; }

    /// <summary>The tokens that end a text; may be empty.</summary>
    public IReadOnlyList<int> EndOfSequence { get; init; } = [];

    /// <summary>Number of latest positions, the own one included, that a query sees; null for all.</summary>
    public int? SlidingWindow { get; init; }

    /// <summary>The first layer that <see cref="SlidingWindow"/> applies to; earlier layers see everything.</summary>
    public int FirstSlidingLayer { get; init; }

    /// <summary>Every so manyth layer has no window although the others have; null where the window is in all of them.</summary>
    public int? FullAttentionPeriod { get; init; }

    /// <summary>Base of the rotary wavelengths in layers with a window, where it is their own; no scaling applies to it.</summary>
    public double? LocalRopeTheta { get; init; }

    /// <summary>How many elements of a head are rotated, its first ones; even. Null for all.</summary>
    public int? PartialRotarySize { get; init; }

    /// <summary>Attention's scores are divided by the root of this; null for the head size.</summary>
    public double? QueryScalar { get; init; }

    /// <summary>Attention's scores s become cap·tanh(s / cap); null for none.</summary>
    public float? AttentionSoftCap { get; init; }

    /// <summary>The logits l become cap·tanh(l / cap); null for none.</summary>
    public float? LogitSoftCap { get; init; }

    /// <summary>The experts in the place of every layer's MLP; null for an MLP.</summary>
    public ExpertConfiguration? Experts { get; init; }

    /// <summary>The type that the checkpoint says it is stored in, where it says.</summary>
    public TensorElementType? StoredType { get; init; }

    /// <summary>Reads <c>config.json</c> of a model folder.</summary>
    /// <param name="folder">A Hugging Face model folder.</param>
    /// <exception cref="CheckpointException">The file is missing or breaks a rule; the message lists every violation.</exception>
    public static ModelConfiguration Load(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var path = Path.Combine(folder, "config.json");
        string json;
        try
        {
            json = File.ReadAllText(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(path, $"the file cannot be read: {exception.Message.TrimEnd('.')}", innerException: exception);
        }

        return Parse(json, path);
    }

    /// <summary>Reads the text of a <c>config.json</c>.</summary>
    /// <param name="json">The text.</param>
    /// <param name="source">The name that messages give to the text, as a rule its path.</param>
    /// <exception cref="CheckpointException">The text is no JSON, or breaks a rule; the message lists every violation.</exception>
    public static ModelConfiguration Parse(string json, string source)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentException.ThrowIfNullOrEmpty(source);
        try
        {
            using var document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false });
            return ConfigurationParser.Parse(document.RootElement, source);
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(source, $"not valid JSON: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
        catch (InvalidOperationException exception)
        {
            // System.Text.Json's answer to an escaped lone surrogate.
            throw new CheckpointException(source, "holds text that is not valid Unicode", innerException: exception);
        }
    }
}
