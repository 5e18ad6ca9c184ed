using Armor.Cuda.Decoding;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Cuda;

/// <content>Whole models.</content>
public sealed partial class CudaBackend : IDecoderBackend
{
    /// <summary>For tests: told of every decoder.</summary>
    internal Action<CudaDecoder>? DecoderCreated { get; set; }

    /// <inheritdoc/>
    public KernelSupport SupportsDecoder(ModelConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        return Unavailable is not null ? KernelSupport.Unsupported(Unavailable)
            : configuration.HeadSize > CacheShape.MostHeadSize
                ? KernelSupport.Unsupported($"Heads of {configuration.HeadSize} elements are larger than {CacheShape.MostHeadSize}, the most that attention has room for.")
            : KernelSupport.Supported;
    }

    /// <inheritdoc/>
    /// <exception cref="CudaException">There is too little memory on the card.</exception>
    public IDecoder CreateDecoder(ModelConfiguration configuration, DecoderWeights weights, TensorElementType cacheType)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentNullException.ThrowIfNull(weights);
        if (SupportsDecoder(configuration) is { IsSupported: false } support)
        {
            throw new NotSupportedException(support.Reason);
        }

        var run = Enter();
        try
        {
            var decoder = new CudaDecoder(this, run, configuration, weights, cacheType);
            DecoderCreated?.Invoke(decoder);
            return decoder;
        }
        finally
        {
            Leave();
        }
    }
}
