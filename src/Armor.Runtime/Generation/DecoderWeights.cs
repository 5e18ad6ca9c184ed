using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>The weights of one decoder layer. Norms are what they multiply by, offsets included.</summary>
internal sealed record DecoderLayerWeights
{
    public required float[] AttentionNorm { get; init; }

    public required LinearWeight Query { get; init; }

    public required LinearWeight Key { get; init; }

    public required LinearWeight Value { get; init; }

    /// <summary>[head size], where the family has it.</summary>
    public required float[]? QueryNorm { get; init; }

    /// <summary>[head size], where the family has it.</summary>
    public required float[]? KeyNorm { get; init; }

    public required LinearWeight AttentionOutput { get; init; }

    public required float[] MlpNorm { get; init; }

    public required FeedForward FeedForward { get; init; }

    /// <summary>[hidden], where the family norms what attention adds.</summary>
    public required float[]? AttentionOutputNorm { get; init; }

    /// <summary>[hidden], where the family norms what the MLP adds.</summary>
    public required float[]? MlpOutputNorm { get; init; }
}

/// <summary>All weights of a model.</summary>
/// <param name="Embedding">[vocabulary, hidden]; disposed of with the model.</param>
/// <param name="Layers">In order.</param>
/// <param name="FinalNorm">[hidden].</param>
/// <param name="Head">[vocabulary, hidden]; has the embedding's weight where it is tied and of the same type.</param>
/// <param name="Matrices">Every matrix once, to be disposed of with the model.</param>
internal sealed record DecoderWeights(
    EmbeddingRows Embedding, IReadOnlyList<DecoderLayerWeights> Layers, float[] FinalNorm, LinearWeight Head, IReadOnlyList<KernelWeight> Matrices)
    : IDisposable
{
    /// <summary>The memory that the matrices take.</summary>
    public long Bytes => Matrices.Sum(matrix => matrix.Bytes);

    public void Dispose()
    {
        Embedding.Dispose();
        foreach (var matrix in Matrices)
        {
            matrix.Dispose();
        }
    }
}
