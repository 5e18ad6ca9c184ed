using Armor.Cuda.Devices;
using Armor.Cuda.Interop;

namespace Armor.Cuda.Prefill;

/// <summary>cuSPARSELt on one card.</summary>
internal sealed class SparseLtHandle : IDisposable
{
    private static readonly Version Oldest = new(0, 5, 2); // codes of compute types changed then
    private static readonly Version SlowOnHopper = new(0, 8, 0);

    private readonly OpaqueStructure _handle;

    /// <exception cref="CudaException">The library does not start, or is too old; says why.</exception>
    public SparseLtHandle(ISparseLt library, CudaDevice device)
    {
        Library = library;
        device.Use();
        _handle = new OpaqueStructure(library.Destroy);
        try
        {
            Check("cusparseLtInit", library.Init(_handle.Address), device.Name);
            _handle.Initialised("cusparseLtInit");
            Check("cusparseLtGetVersion", library.GetVersion(_handle.Address, out var number));
            Version = new Version(number / 1000, number / 100 % 10, number % 100);
            if (Version < Oldest)
            {
                throw new CudaException($"cuSPARSELt {Version} is older than {Oldest}, the oldest whose functions we know.");
            }
        }
        catch
        {
            _handle.Dispose();
            throw;
        }
    }

    public ISparseLt Library { get; }

    public Version Version { get; }

    /// <summary>What is known to be wrong with the version.</summary>
    public string? Warning => Version == SlowOnHopper ? "0.8.0 is slow on the H100 and the L4 (NVIDIA's release notes); 0.8.1 is not" : null;

    public nint Address => _handle.Address;

    /// <exception cref="CudaException">The status is not success.</exception>
    public void Check(string call, int status, string detail = "")
    {
        if (status != 0)
        {
            throw new CudaException(call, status, Library.Describe(status), detail);
        }
    }

    public void Dispose() => _handle.Dispose();
}
