using Armor.Cuda.Kernels;

namespace Armor.Cuda;

/// <summary>How a <see cref="CudaBackend"/> finds its card and NVIDIA's libraries.</summary>
public sealed record CudaBackendOptions
{
    /// <summary>Which card, in the driver's order (which <c>CUDA_VISIBLE_DEVICES</c> changes).</summary>
    /// <value>The default is 0.</value>
    public int Device { get; init; }

    /// <summary>Folders in which to look for NVIDIA's libraries before all others.</summary>
    /// <value>The default is none.</value>
    public IReadOnlyList<string> LibraryFolders { get; init; } = [];

    /// <summary>
    /// The <c>site-packages</c> folder of a Python whose packages nvidia-cuda-nvrtc, nvidia-cublas and nvidia-cusparselt are to be used, as PyTorch brings them.
    /// </summary>
    /// <value>The default is null: none.</value>
    public string? PythonPackages { get; init; }

    /// <summary>Where compiled kernels are kept between runs; null to compile them in every run.</summary>
    /// <value>The default is <c>armor/cuda-kernels</c> in the user's local application data.</value>
    public string? KernelCacheFolder { get; init; } = KernelCache.DefaultFolder;

    /// <summary>
    /// From this many inputs on, 2:4 layers of 16-bit values are multiplied by cuSPARSELt and cuBLASLt, where both are found and the shape is of multiples of 16;
    /// below, and otherwise, by our own kernels. The libraries' forms of a layer are made when the first such batch comes, and take as much memory
    /// again, so that a factorised model is no smaller than a dense one. A result then differs in its last bits from the one of a smaller batch. 0 for our own kernels always.
    /// </summary>
    /// <value>The default is 0. Where memory allows, 128 is worth a try.</value>
    public int LibraryBatch { get; init; }

    /// <summary>Into how many parts columns are cut, in place of the best by rule. For tests and measurements.</summary>
    internal int? Splits { get; init; }

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">Lists every violation.</exception>
    public void Validate()
    {
        var violations = new List<string>();
        if (Device < 0)
        {
            violations.Add($"Device must be at least 0; found {Device}.");
        }

        if (LibraryFolders is null || LibraryFolders.Any(string.IsNullOrWhiteSpace))
        {
            violations.Add("LibraryFolders must be names of folders; found an empty one.");
        }

        if (LibraryBatch < 0)
        {
            violations.Add($"LibraryBatch must be at least 0; found {LibraryBatch}.");
        }

        if (Splits is < 1)
        {
            violations.Add($"Splits must be at least 1; found {Splits}.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }
    }
}
