using System.Runtime.InteropServices;

namespace Armor.Cuda.Devices;

/// <summary>Something of the driver's that belongs to a device and is given back to it, unless the device went before.</summary>
/// <param name="device">The card.</param>
internal abstract class DriverHandle(CudaDevice device) : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected CudaDevice Device { get; } = device;

    /// <summary>The handle, while it is open.</summary>
    /// <exception cref="ObjectDisposedException">It was given back.</exception>
    protected nint Open
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    protected sealed override bool ReleaseHandle() => !Device.TryUse() || Release() == 0;

    /// <summary>Gives it back; the device is current.</summary>
    /// <returns>The driver's status.</returns>
    protected abstract int Release();
}
