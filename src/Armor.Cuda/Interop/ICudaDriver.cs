namespace Armor.Cuda.Interop;

/// <summary>
/// The functions of the driver that we call, each with its status: the seam at which tests put a driver of their own. Pointers into the device's memory
/// and handles are numbers.
/// </summary>
internal unsafe interface ICudaDriver
{
    int Init();

    int DriverGetVersion(out int version);

    int DeviceGetCount(out int count);

    int DeviceGet(out int device, int ordinal);

    int DeviceGetName(byte* name, int length, int device);

    int DeviceGetAttribute(out int value, int attribute, int device);

    int DeviceTotalMemory(out nuint bytes, int device);

    int PrimaryContextRetain(out nint context, int device);

    int PrimaryContextRelease(int device);

    int ContextSetCurrent(nint context);

    int MemoryGetInfo(out nuint free, out nuint total);

    int MemoryAllocate(out nint address, nuint bytes);

    int MemoryFree(nint address);

    int HostAllocate(out nint address, nuint bytes);

    int HostFree(nint address);

    int CopyToDevice(nint destination, nint source, nuint bytes, nint stream);

    int CopyToHost(nint destination, nint source, nuint bytes, nint stream);

    int CopyOnDevice(nint destination, nint source, nuint bytes, nint stream);

    int Fill(nint destination, byte value, nuint bytes, nint stream);

    int StreamCreate(out nint stream);

    int StreamDestroy(nint stream);

    int StreamSynchronize(nint stream);

    int EventCreate(out nint handle);

    int EventDestroy(nint handle);

    int EventRecord(nint handle, nint stream);

    int EventSynchronize(nint handle);

    int EventElapsedTime(out float milliseconds, nint start, nint end);

    int ModuleLoad(out nint module, byte* image);

    int ModuleUnload(nint module);

    int ModuleGetFunction(out nint function, nint module, byte* name);

    /// <summary>cuLaunchKernelEx where the kernel may begin before the one in front of it has ended, else cuLaunchKernel.</summary>
    int Launch(nint function, LaunchShape shape, nint stream, void** arguments, bool mayBeginEarly);

    /// <summary>From here on this thread's work in the stream is recorded and not done.</summary>
    int StreamBeginCapture(nint stream);

    int StreamEndCapture(nint stream, out nint graph);

    int GraphInstantiate(out nint executable, nint graph);

    int GraphLaunch(nint executable, nint stream);

    int GraphDestroy(nint graph);

    int GraphExecutableDestroy(nint executable);

    /// <summary>A status's name and meaning.</summary>
    string Describe(int status);
}

/// <summary>How many blocks, and threads in each.</summary>
internal readonly record struct LaunchShape(uint X, uint Y, uint Z, uint Threads);
