using System.Runtime.InteropServices;
using Armor.Cuda.Interop;

namespace Armor.Cuda.Devices;

/// <summary>
/// One card with its primary context, through the driver's function table. Every call makes the context the calling thread's own first, so a device may
/// be used from any thread; order among threads is the caller's affair.
/// </summary>
internal sealed unsafe class CudaDevice : IDisposable
{
    /// <summary>Ten times 8.0, from which on the tensor cores multiply by 2:4 matrices.</summary>
    public const int LeastCapability = 80;

    private const int MultiprocessorCount = 16;
    private const int CapabilityMajor = 75;
    private const int CapabilityMinor = 76;

    private readonly int _device;
    private readonly nint _context;
    private bool _isDisposed;

    private CudaDevice(ICudaDriver driver, int ordinal)
    {
        Driver = driver;
        Check("cuDeviceGet", driver.DeviceGet(out _device, ordinal), $"device {ordinal}");
        Capability = (Attribute(CapabilityMajor) * 10) + Attribute(CapabilityMinor);
        Multiprocessors = Attribute(MultiprocessorCount);
        var name = stackalloc byte[256];
        Check("cuDeviceGetName", driver.DeviceGetName(name, 256, _device));
        Name = Marshal.PtrToStringUTF8((nint)name)!;
        Check("cuDeviceTotalMem", driver.DeviceTotalMemory(out var bytes, _device));
        MemoryBytes = checked((long)bytes);
        Check("cuDriverGetVersion", driver.DriverGetVersion(out var version));
        DriverVersion = new Version(version / 1000, version % 1000 / 10);
        Check("cuDevicePrimaryCtxRetain", driver.PrimaryContextRetain(out _context, _device), Name);
    }

    public ICudaDriver Driver { get; }

    public string Name { get; }

    /// <summary>The newest CUDA that the driver runs.</summary>
    public Version DriverVersion { get; }

    /// <summary>Ten times the major version of the compute capability and the minor one.</summary>
    public int Capability { get; }

    public int Multiprocessors { get; }

    /// <summary>Whether a kernel may begin before the one in front has ended: Hopper and later, with a driver that also records it (CUDA 12.3).</summary>
    public bool CanBeginEarly => Capability >= 90 && DriverVersion >= KnownVersions.EarlyBegin;

    public long MemoryBytes { get; }

    /// <summary>Opens a card.</summary>
    /// <param name="driver">The function table.</param>
    /// <param name="ordinal">From 0.</param>
    /// <param name="device">The card; null where there is none to be used.</param>
    /// <returns>Null, or why the card cannot be used.</returns>
    public static string? TryOpen(ICudaDriver driver, int ordinal, out CudaDevice? device)
    {
        device = null;
        var status = driver.Init();
        if (status != 0)
        {
            return $"The CUDA driver does not start: cuInit says {driver.Describe(status)}.";
        }

        status = driver.DeviceGetCount(out var count);
        if (status != 0 || ordinal >= count)
        {
            return status != 0
                ? $"The CUDA driver does not count its devices: {driver.Describe(status)}."
                : $"There is no CUDA device {ordinal}; the driver sees {count}.";
        }

        CudaDevice opened;
        try
        {
            opened = new CudaDevice(driver, ordinal);
        }
        catch (CudaException exception)
        {
            return exception.Message;
        }

        if (opened.Capability < LeastCapability)
        {
            var reason = $"{opened.Name} has compute capability {opened.Capability / 10}.{opened.Capability % 10}; 2:4 matrices need 8.0 or later.";
            opened.Dispose();
            return reason;
        }

        device = opened;
        return null;
    }

    /// <summary>Memory of the device, not set to anything.</summary>
    /// <exception cref="CudaException">There is not as much; says how much there is.</exception>
    public DeviceMemory Allocate(long bytes)
    {
        Use();
        var status = Driver.MemoryAllocate(out var address, (nuint)bytes);
        if (status != 0)
        {
            var left = Driver.MemoryGetInfo(out var free, out var total) == 0 ? $", {free >> 20} of {total >> 20} MiB are free" : "";
            throw new CudaException("cuMemAlloc", status, Driver.Describe(status), $"{bytes} bytes on {Name}{left}");
        }

        return new DeviceMemory(this, address, bytes);
    }

    /// <summary>Memory of the machine that copies to and from the device run at full speed from.</summary>
    public PinnedMemory AllocatePinned(long bytes)
    {
        Use();
        Check("cuMemHostAlloc", Driver.HostAllocate(out var address, (nuint)bytes), $"{bytes} bytes");
        return new PinnedMemory(this, address, bytes);
    }

    public CudaStream CreateStream()
    {
        Use();
        Check("cuStreamCreate", Driver.StreamCreate(out var stream));
        return new CudaStream(this, stream);
    }

    public CudaEvent CreateEvent()
    {
        Use();
        Check("cuEventCreate", Driver.EventCreate(out var handle));
        return new CudaEvent(this, handle);
    }

    /// <summary>Bytes that are free now.</summary>
    public long FreeBytes()
    {
        Use();
        Check("cuMemGetInfo", Driver.MemoryGetInfo(out var free, out _));
        return checked((long)free);
    }

    /// <summary>Makes the context the calling thread's.</summary>
    public void Use()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        Check("cuCtxSetCurrent", Driver.ContextSetCurrent(_context));
    }

    /// <summary>The same for handles that are given back, perhaps after the device.</summary>
    public bool TryUse() => !_isDisposed && Driver.ContextSetCurrent(_context) == 0;

    /// <exception cref="CudaException">The status is not success.</exception>
    public void Check(string call, int status, string detail = "")
    {
        if (status != 0)
        {
            throw new CudaException(call, status, Driver.Describe(status), detail);
        }
    }

    public void Dispose()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            _ = Driver.PrimaryContextRelease(_device);
        }
    }

    private int Attribute(int attribute)
    {
        Check("cuDeviceGetAttribute", Driver.DeviceGetAttribute(out var value, attribute, _device), $"attribute {attribute}");
        return value;
    }
}
