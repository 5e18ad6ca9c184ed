namespace Armor.Cuda.Devices;

/// <summary>Memory of the device. Its address is a number: nothing on this side can read through it by mistake.</summary>
internal sealed unsafe class DeviceMemory : DriverHandle
{
    public DeviceMemory(CudaDevice device, nint address, long bytes)
        : base(device)
    {
        Bytes = bytes;
        SetHandle(address);
    }

    public long Bytes { get; }

    /// <summary>Where it lies on the device.</summary>
    /// <exception cref="ObjectDisposedException">It was given back.</exception>
    public nint Address => Open;

    /// <summary>Queues a copy to the device; the source must stay until the stream has come past it.</summary>
    public void CopyFrom(PinnedMemory source, long bytes, CudaStream stream, long destinationOffset = 0, long sourceOffset = 0)
    {
        CheckRange(destinationOffset, bytes, Bytes);
        CheckRange(sourceOffset, bytes, source.Bytes);
        Device.Use();
        Device.Check("cuMemcpyHtoDAsync", Device.Driver.CopyToDevice(Address + (nint)destinationOffset, source.Address + (nint)sourceOffset, (nuint)bytes, stream.Handle), $"{bytes} bytes");
    }

    /// <summary>Queues a copy from the device.</summary>
    public void CopyTo(PinnedMemory destination, long bytes, CudaStream stream, long sourceOffset = 0)
    {
        CheckRange(sourceOffset, bytes, Bytes);
        CheckRange(0, bytes, destination.Bytes);
        Device.Use();
        Device.Check("cuMemcpyDtoHAsync", Device.Driver.CopyToHost(destination.Address, Address + (nint)sourceOffset, (nuint)bytes, stream.Handle), $"{bytes} bytes");
    }

    /// <summary>Queues a copy within the device.</summary>
    public void CopyFrom(DeviceMemory source, long bytes, CudaStream stream)
    {
        CheckRange(0, bytes, Bytes);
        CheckRange(0, bytes, source.Bytes);
        Device.Use();
        Device.Check("cuMemcpyDtoDAsync", Device.Driver.CopyOnDevice(Address, source.Address, (nuint)bytes, stream.Handle), $"{bytes} bytes");
    }

    /// <summary>Queues setting every byte.</summary>
    public void Fill(byte value, CudaStream stream)
    {
        Device.Use();
        Device.Check("cuMemsetD8Async", Device.Driver.Fill(Address, value, (nuint)Bytes, stream.Handle), $"{Bytes} bytes");
    }

    protected override int Release() => Device.Driver.MemoryFree(handle);

    private static void CheckRange(long offset, long bytes, long all)
    {
        if (offset < 0 || bytes < 0 || offset > all - bytes)
        {
            throw new ArgumentOutOfRangeException(nameof(bytes), $"{bytes} bytes from {offset} on are not inside {all}.");
        }
    }
}

/// <summary>Page-locked memory of the machine.</summary>
internal sealed unsafe class PinnedMemory : DriverHandle
{
    public PinnedMemory(CudaDevice device, nint address, long bytes)
        : base(device)
    {
        Bytes = bytes;
        SetHandle(address);
    }

    public long Bytes { get; }

    public nint Address => Open;

    /// <summary>The first elements, as any type.</summary>
    public Span<T> AsSpan<T>(int count)
        where T : unmanaged
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)count * sizeof(T), Bytes);
        return new Span<T>((void*)Address, count);
    }

    protected override int Release() => Device.Driver.HostFree(handle);
}
