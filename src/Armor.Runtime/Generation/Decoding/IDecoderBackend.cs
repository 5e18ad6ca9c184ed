using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation.Decoding;

/// <summary>
/// A backend that takes over the whole forward pass of the models that are loaded on it, so that activations stay where its weights are. What it
/// does not support is refused when the model is loaded: nothing falls back.
/// </summary>
public interface IDecoderBackend : IKernelBackend
{
    /// <summary>Whether the backend runs a model of this configuration.</summary>
    /// <param name="configuration">The model.</param>
    KernelSupport SupportsDecoder(ModelConfiguration configuration);

    /// <summary>Makes the forward pass of a model whose weights this backend has prepared.</summary>
    /// <param name="configuration">A model that is supported.</param>
    /// <param name="weights">Stay the caller's, who disposes of them after the decoder.</param>
    /// <param name="cacheType">The type of keys and values: Float32 or Float16.</param>
    IDecoder CreateDecoder(ModelConfiguration configuration, DecoderWeights weights, TensorElementType cacheType);
}
