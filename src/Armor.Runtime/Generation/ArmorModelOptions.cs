using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Generation;

/// <summary>How a model is loaded and run.</summary>
public sealed record ArmorModelOptions
{
    /// <summary>
    /// What multiplies by the weights; stays the caller's, and may be shared by several models.
    /// </summary>
    /// <value>The default is a <see cref="SimdBackend"/>.</value>
    public IKernelBackend Backend { get; init; } = new SimdBackend();

    /// <summary>
    /// The type of the keys and values that sessions keep: float32, or float16 for half the memory and logits that differ in their third digit after the
    /// point.
    /// </summary>
    /// <value>The default is float32.</value>
    public TensorElementType CacheType { get; init; } = TensorElementType.Float32;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (Backend is null)
        {
            violations.Add("Backend must not be null.");
        }

        if (CacheType is not (TensorElementType.Float32 or TensorElementType.Float16))
        {
            violations.Add($"CacheType must be Float32 or Float16; found {CacheType}.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }
    }
}
