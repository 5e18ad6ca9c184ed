using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>The weights of one decoder layer. Norms are what they multiply by, offsets included.</summary>
public sealed class DecoderLayerWeights
{
    /// <summary>[hidden], of what attention reads.</summary>
    public required ReadOnlyMemory<float> AttentionNorm { get; init; }

    /// <summary>[heads × head size, hidden].</summary>
    public required LinearWeight Query { get; init; }

    /// <summary>[key/value heads × head size, hidden].</summary>
    public required LinearWeight Key { get; init; }

    /// <summary>[key/value heads × head size, hidden].</summary>
    public required LinearWeight Value { get; init; }

    /// <summary>[head size], where the family has it.</summary>
    public required ReadOnlyMemory<float>? QueryNorm { get; init; }

    /// <summary>[head size], where the family has it.</summary>
    public required ReadOnlyMemory<float>? KeyNorm { get; init; }

    /// <summary>[hidden, heads × head size].</summary>
    public required LinearWeight AttentionOutput { get; init; }

    /// <summary>[hidden], where the family norms what attention adds.</summary>
    public required ReadOnlyMemory<float>? AttentionOutputNorm { get; init; }

    /// <summary>[hidden], of what the MLP reads.</summary>
    public required ReadOnlyMemory<float> MlpNorm { get; init; }

    /// <summary>An MLP or a mixture of experts.</summary>
    public required FeedForward FeedForward { get; init; }

    /// <summary>[hidden], where the family norms what the MLP adds.</summary>
    public required ReadOnlyMemory<float>? MlpOutputNorm { get; init; }
}

/// <summary>All weights of a model, its matrices as a backend holds them.</summary>
public sealed class DecoderWeights : IDisposable
{
    /// <summary>
    /// [vocabulary, hidden], dense. Of a backend that leaves the forward pass to managed code it may be one that stays in its file, whose rows are read as
    /// tokens need them; of another, the backend's.
    /// </summary>
    public required KernelWeight Embedding { get; init; }

    /// <summary>In order.</summary>
    public required IReadOnlyList<DecoderLayerWeights> Layers { get; init; }

    /// <summary>[hidden].</summary>
    public required ReadOnlyMemory<float> FinalNorm { get; init; }

    /// <summary>[vocabulary, hidden]; has the embedding's weight where it is tied and of the same type.</summary>
    public required LinearWeight Head { get; init; }

    /// <summary>Every matrix once, to be disposed of with the model.</summary>
    public required IReadOnlyList<KernelWeight> Matrices { get; init; }

    /// <summary>The memory that the matrices take.</summary>
    public long Bytes => Matrices.Sum(matrix => matrix.Bytes);

    /// <summary>Gives the matrices' memory back.</summary>
    public void Dispose()
    {
        foreach (var matrix in Matrices)
        {
            matrix.Dispose();
        }
    }
}
