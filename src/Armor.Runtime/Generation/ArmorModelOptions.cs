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

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">There is no backend.</exception>
    public void Validate()
    {
        if (Backend is null)
        {
            throw new ArgumentException("Backend must not be null.");
        }
    }
}
