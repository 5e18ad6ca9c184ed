using System.Runtime.InteropServices;

namespace Armor.Cuda.Devices;

/// <summary>A queue of work on the device; work in it runs in order.</summary>
internal sealed class CudaStream : SafeHandle
{
    private readonly CudaDevice _device;

    public CudaStream(CudaDevice device, nint stream)
        : base(0, ownsHandle: true)
    {
        _device = device;
        SetHandle(stream);
    }

    public override bool IsInvalid => handle == 0;

    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    /// <summary>Waits for all of it. Errors of kernels show here.</summary>
    public void Synchronize()
    {
        _device.Use();
        _device.Check("cuStreamSynchronize", _device.Driver.StreamSynchronize(Handle));
    }

    protected override bool ReleaseHandle() => !_device.TryUse() || _device.Driver.StreamDestroy(handle) == 0;
}

/// <summary>A point in a stream, with the time at which the device came past it.</summary>
internal sealed class CudaEvent : SafeHandle
{
    private readonly CudaDevice _device;

    public CudaEvent(CudaDevice device, nint handle)
        : base(0, ownsHandle: true)
    {
        _device = device;
        SetHandle(handle);
    }

    public override bool IsInvalid => handle == 0;

    public void Record(CudaStream stream)
    {
        _device.Use();
        _device.Check("cuEventRecord", _device.Driver.EventRecord(handle, stream.Handle));
    }

    /// <summary>The time from this point to a later one, both passed.</summary>
    public TimeSpan Until(CudaEvent later)
    {
        _device.Use();
        _device.Check("cuEventSynchronize", _device.Driver.EventSynchronize(later.handle));
        _device.Check("cuEventElapsedTime", _device.Driver.EventElapsedTime(out var milliseconds, handle, later.handle));
        return TimeSpan.FromMilliseconds(milliseconds);
    }

    protected override bool ReleaseHandle() => !_device.TryUse() || _device.Driver.EventDestroy(handle) == 0;
}
