namespace Armor.Cuda.Devices;

/// <summary>A queue of work on the device; work in it runs in order.</summary>
internal sealed class CudaStream : DriverHandle
{
    public CudaStream(CudaDevice device, nint stream)
        : base(device)
    {
        SetHandle(stream);
    }

    public nint Handle => Open;

    /// <summary>Waits for all of it. Errors of kernels show here.</summary>
    public void Synchronize()
    {
        Device.Use();
        Device.Check("cuStreamSynchronize", Device.Driver.StreamSynchronize(Handle));
    }

    protected override int Release() => Device.Driver.StreamDestroy(handle);
}

/// <summary>A point in a stream, with the time at which the device came past it.</summary>
internal sealed class CudaEvent : DriverHandle
{
    public CudaEvent(CudaDevice device, nint handle)
        : base(device)
    {
        SetHandle(handle);
    }

    public void Record(CudaStream stream)
    {
        Device.Use();
        Device.Check("cuEventRecord", Device.Driver.EventRecord(handle, stream.Handle));
    }

    /// <summary>The time from this point to a later one, both passed.</summary>
    public TimeSpan Until(CudaEvent later)
    {
        Device.Use();
        Device.Check("cuEventSynchronize", Device.Driver.EventSynchronize(later.handle));
        Device.Check("cuEventElapsedTime", Device.Driver.EventElapsedTime(out var milliseconds, handle, later.handle));
        return TimeSpan.FromMilliseconds(milliseconds);
    }

    protected override int Release() => Device.Driver.EventDestroy(handle);
}
