using Armor.Cuda.Kernels;
using Armor.Runtime.Generation;

namespace Armor.Cuda.Decoding;

/// <summary>A linear on the card: its product, and where its bias lies.</summary>
internal sealed class DeviceLinear(LinearWeight linear, DeviceVectors vectors)
{
    public DeviceProduct Product { get; } = ((CudaWeight)linear.Weight).Product;

    /// <summary>Whoever uses the product's result adds it.</summary>
    public DeviceVector Bias { get; } = vectors.Add(linear.Bias);
}

/// <summary>One decoder layer on the card.</summary>
internal sealed class DeviceLayer : IDisposable
{
    /// <param name="run">Its card decides how products are cut.</param>
    /// <param name="weights">Prepared by this backend.</param>
    /// <param name="expertsPerToken">0 where there are no experts.</param>
    /// <param name="vectors">Take norms and biases.</param>
    public DeviceLayer(DeviceRun run, DecoderLayerWeights weights, int expertsPerToken, DeviceVectors vectors)
    {
        Query = new DeviceLinear(weights.Query, vectors);
        Key = new DeviceLinear(weights.Key, vectors);
        Value = new DeviceLinear(weights.Value, vectors);
        AttentionOutput = new DeviceLinear(weights.AttentionOutput, vectors);
        Mlp = weights.FeedForward is GatedMlp mlp ? new DeviceMlp(run, mlp, vectors) : null;
        Experts = weights.FeedForward is MixtureOfExperts experts ? new DeviceExperts(run, experts, expertsPerToken, vectors) : null;
        AttentionInputs = new ProductGroup(run, Query.Product, Key.Product, Value.Product);
        AttentionNorm = vectors.Add(weights.AttentionNorm);
        QueryNorm = vectors.Add(weights.QueryNorm);
        KeyNorm = vectors.Add(weights.KeyNorm);
        AttentionOutputNorm = vectors.Add(weights.AttentionOutputNorm);
        MlpNorm = vectors.Add(weights.MlpNorm);
        MlpOutputNorm = vectors.Add(weights.MlpOutputNorm);
    }

    public DeviceLinear Query { get; }

    public DeviceLinear Key { get; }

    public DeviceLinear Value { get; }

    /// <summary>Queries, keys and values together.</summary>
    public ProductGroup AttentionInputs { get; }

    public DeviceLinear AttentionOutput { get; }

    /// <summary>Null where there are experts.</summary>
    public DeviceMlp? Mlp { get; }

    /// <summary>Null where there is an MLP.</summary>
    public DeviceExperts? Experts { get; }

    public DeviceVector AttentionNorm { get; }

    public DeviceVector QueryNorm { get; }

    public DeviceVector KeyNorm { get; }

    public DeviceVector AttentionOutputNorm { get; }

    public DeviceVector MlpNorm { get; }

    public DeviceVector MlpOutputNorm { get; }

    /// <inheritdoc/>
    public void Dispose() => Experts?.Dispose();
}
