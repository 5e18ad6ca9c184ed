using System.Runtime.InteropServices;

namespace Armor.Cuda.Interop;

/// <summary>The driver's own functions, found by name in libcuda.so.1 or nvcuda.dll.</summary>
internal sealed unsafe class CudaDriver : ICudaDriver
{
    private const int ProgrammaticStreamSerialization = 6; // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    private const uint NonBlockingStream = 1;
    private const int CaptureOfThisThread = 1; // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

    private readonly delegate* unmanaged<uint, int> _init;
    private readonly delegate* unmanaged<int*, int> _driverGetVersion;
    private readonly delegate* unmanaged<int*, int> _deviceGetCount;
    private readonly delegate* unmanaged<int*, int, int> _deviceGet;
    private readonly delegate* unmanaged<byte*, int, int, int> _deviceGetName;
    private readonly delegate* unmanaged<int*, int, int, int> _deviceGetAttribute;
    private readonly delegate* unmanaged<nuint*, int, int> _deviceTotalMemory;
    private readonly delegate* unmanaged<nint*, int, int> _primaryContextRetain;
    private readonly delegate* unmanaged<int, int> _primaryContextRelease;
    private readonly delegate* unmanaged<nint, int> _contextSetCurrent;
    private readonly delegate* unmanaged<nuint*, nuint*, int> _memoryGetInfo;
    private readonly delegate* unmanaged<nint*, nuint, int> _memoryAllocate;
    private readonly delegate* unmanaged<nint, int> _memoryFree;
    private readonly delegate* unmanaged<nint*, nuint, uint, int> _hostAllocate;
    private readonly delegate* unmanaged<nint, int> _hostFree;
    private readonly delegate* unmanaged<nint, nint, nuint, nint, int> _copyToDevice;
    private readonly delegate* unmanaged<nint, nint, nuint, nint, int> _copyToHost;
    private readonly delegate* unmanaged<nint, nint, nuint, nint, int> _copyOnDevice;
    private readonly delegate* unmanaged<nint, byte, nuint, nint, int> _fill;
    private readonly delegate* unmanaged<nint*, uint, int> _streamCreate;
    private readonly delegate* unmanaged<nint, int> _streamDestroy;
    private readonly delegate* unmanaged<nint, int> _streamSynchronize;
    private readonly delegate* unmanaged<nint*, uint, int> _eventCreate;
    private readonly delegate* unmanaged<nint, int> _eventDestroy;
    private readonly delegate* unmanaged<nint, nint, int> _eventRecord;
    private readonly delegate* unmanaged<nint, int> _eventSynchronize;
    private readonly delegate* unmanaged<float*, nint, nint, int> _eventElapsedTime;
    private readonly delegate* unmanaged<nint*, byte*, int> _moduleLoad;
    private readonly delegate* unmanaged<nint, int> _moduleUnload;
    private readonly delegate* unmanaged<nint*, nint, byte*, int> _moduleGetFunction;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> _launchKernel;
    private readonly delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int> _launchKernelEx;
    private readonly delegate* unmanaged<nint, int, int> _streamBeginCapture;
    private readonly delegate* unmanaged<nint, nint*, int> _streamEndCapture;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> _graphInstantiate;
    private readonly delegate* unmanaged<nint, nint, int> _graphLaunch;
    private readonly delegate* unmanaged<nint, int> _graphDestroy;
    private readonly delegate* unmanaged<nint, int> _graphExecutableDestroy;
    private readonly delegate* unmanaged<int, byte**, int> _getErrorName;
    private readonly delegate* unmanaged<int, byte**, int> _getErrorString;

    /// <param name="library">The loaded library.</param>
    /// <exception cref="EntryPointNotFoundException">A function is missing: the driver is too old.</exception>
    public CudaDriver(nint library)
    {
        _init = (delegate* unmanaged<uint, int>)Export("cuInit");
        _driverGetVersion = (delegate* unmanaged<int*, int>)Export("cuDriverGetVersion");
        _deviceGetCount = (delegate* unmanaged<int*, int>)Export("cuDeviceGetCount");
        _deviceGet = (delegate* unmanaged<int*, int, int>)Export("cuDeviceGet");
        _deviceGetName = (delegate* unmanaged<byte*, int, int, int>)Export("cuDeviceGetName");
        _deviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)Export("cuDeviceGetAttribute");
        _deviceTotalMemory = (delegate* unmanaged<nuint*, int, int>)Export("cuDeviceTotalMem_v2");
        _primaryContextRetain = (delegate* unmanaged<nint*, int, int>)Export("cuDevicePrimaryCtxRetain");
        _primaryContextRelease = (delegate* unmanaged<int, int>)Export("cuDevicePrimaryCtxRelease_v2");
        _contextSetCurrent = (delegate* unmanaged<nint, int>)Export("cuCtxSetCurrent");
        _memoryGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)Export("cuMemGetInfo_v2");
        _memoryAllocate = (delegate* unmanaged<nint*, nuint, int>)Export("cuMemAlloc_v2");
        _memoryFree = (delegate* unmanaged<nint, int>)Export("cuMemFree_v2");
        _hostAllocate = (delegate* unmanaged<nint*, nuint, uint, int>)Export("cuMemHostAlloc");
        _hostFree = (delegate* unmanaged<nint, int>)Export("cuMemFreeHost");
        _copyToDevice = (delegate* unmanaged<nint, nint, nuint, nint, int>)Export("cuMemcpyHtoDAsync_v2");
        _copyToHost = (delegate* unmanaged<nint, nint, nuint, nint, int>)Export("cuMemcpyDtoHAsync_v2");
        _copyOnDevice = (delegate* unmanaged<nint, nint, nuint, nint, int>)Export("cuMemcpyDtoDAsync_v2");
        _fill = (delegate* unmanaged<nint, byte, nuint, nint, int>)Export("cuMemsetD8Async");
        _streamCreate = (delegate* unmanaged<nint*, uint, int>)Export("cuStreamCreate");
        _streamDestroy = (delegate* unmanaged<nint, int>)Export("cuStreamDestroy_v2");
        _streamSynchronize = (delegate* unmanaged<nint, int>)Export("cuStreamSynchronize");
        _eventCreate = (delegate* unmanaged<nint*, uint, int>)Export("cuEventCreate");
        _eventDestroy = (delegate* unmanaged<nint, int>)Export("cuEventDestroy_v2");
        _eventRecord = (delegate* unmanaged<nint, nint, int>)Export("cuEventRecord");
        _eventSynchronize = (delegate* unmanaged<nint, int>)Export("cuEventSynchronize");
        _eventElapsedTime = (delegate* unmanaged<float*, nint, nint, int>)Export("cuEventElapsedTime");
        _moduleLoad = (delegate* unmanaged<nint*, byte*, int>)Export("cuModuleLoadData");
        _moduleUnload = (delegate* unmanaged<nint, int>)Export("cuModuleUnload");
        _moduleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)Export("cuModuleGetFunction");
        _launchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)Export("cuLaunchKernel");
        _streamBeginCapture = (delegate* unmanaged<nint, int, int>)Export("cuStreamBeginCapture_v2");
        _streamEndCapture = (delegate* unmanaged<nint, nint*, int>)Export("cuStreamEndCapture");
        _graphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Export("cuGraphInstantiateWithFlags");
        _graphLaunch = (delegate* unmanaged<nint, nint, int>)Export("cuGraphLaunch");
        _graphDestroy = (delegate* unmanaged<nint, int>)Export("cuGraphDestroy");
        _graphExecutableDestroy = (delegate* unmanaged<nint, int>)Export("cuGraphExecDestroy");
        _getErrorName = (delegate* unmanaged<int, byte**, int>)Export("cuGetErrorName");
        _getErrorString = (delegate* unmanaged<int, byte**, int>)Export("cuGetErrorString");

        // Since 11.8; without it kernels follow each other.
        _launchKernelEx = NativeLibrary.TryGetExport(library, "cuLaunchKernelEx", out var launch)
            ? (delegate* unmanaged<LaunchConfiguration*, nint, void**, void**, int>)launch
            : null;

        nint Export(string name) => NativeLibrary.GetExport(library, name);
    }

    public int Init() => _init(0);

    public int DriverGetVersion(out int version)
    {
        fixed (int* p = &version)
        {
            return _driverGetVersion(p);
        }
    }

    public int DeviceGetCount(out int count)
    {
        fixed (int* p = &count)
        {
            return _deviceGetCount(p);
        }
    }

    public int DeviceGet(out int device, int ordinal)
    {
        fixed (int* p = &device)
        {
            return _deviceGet(p, ordinal);
        }
    }

    public int DeviceGetName(byte* name, int length, int device) => _deviceGetName(name, length, device);

    public int DeviceGetAttribute(out int value, int attribute, int device)
    {
        fixed (int* p = &value)
        {
            return _deviceGetAttribute(p, attribute, device);
        }
    }

    public int DeviceTotalMemory(out nuint bytes, int device)
    {
        fixed (nuint* p = &bytes)
        {
            return _deviceTotalMemory(p, device);
        }
    }

    public int PrimaryContextRetain(out nint context, int device)
    {
        fixed (nint* p = &context)
        {
            return _primaryContextRetain(p, device);
        }
    }

    public int PrimaryContextRelease(int device) => _primaryContextRelease(device);

    public int ContextSetCurrent(nint context) => _contextSetCurrent(context);

    public int MemoryGetInfo(out nuint free, out nuint total)
    {
        fixed (nuint* p = &free, q = &total)
        {
            return _memoryGetInfo(p, q);
        }
    }

    public int MemoryAllocate(out nint address, nuint bytes)
    {
        fixed (nint* p = &address)
        {
            return _memoryAllocate(p, bytes);
        }
    }

    public int MemoryFree(nint address) => _memoryFree(address);

    public int HostAllocate(out nint address, nuint bytes)
    {
        fixed (nint* p = &address)
        {
            return _hostAllocate(p, bytes, 0);
        }
    }

    public int HostFree(nint address) => _hostFree(address);

    public int CopyToDevice(nint destination, nint source, nuint bytes, nint stream) => _copyToDevice(destination, source, bytes, stream);

    public int CopyToHost(nint destination, nint source, nuint bytes, nint stream) => _copyToHost(destination, source, bytes, stream);

    public int CopyOnDevice(nint destination, nint source, nuint bytes, nint stream) => _copyOnDevice(destination, source, bytes, stream);

    public int Fill(nint destination, byte value, nuint bytes, nint stream) => _fill(destination, value, bytes, stream);

    public int StreamCreate(out nint stream)
    {
        fixed (nint* p = &stream)
        {
            return _streamCreate(p, NonBlockingStream);
        }
    }

    public int StreamDestroy(nint stream) => _streamDestroy(stream);

    public int StreamSynchronize(nint stream) => _streamSynchronize(stream);

    public int EventCreate(out nint handle)
    {
        fixed (nint* p = &handle)
        {
            return _eventCreate(p, 0);
        }
    }

    public int EventDestroy(nint handle) => _eventDestroy(handle);

    public int EventRecord(nint handle, nint stream) => _eventRecord(handle, stream);

    public int EventSynchronize(nint handle) => _eventSynchronize(handle);

    public int EventElapsedTime(out float milliseconds, nint start, nint end)
    {
        fixed (float* p = &milliseconds)
        {
            return _eventElapsedTime(p, start, end);
        }
    }

    public int ModuleLoad(out nint module, byte* image)
    {
        fixed (nint* p = &module)
        {
            return _moduleLoad(p, image);
        }
    }

    public int ModuleUnload(nint module) => _moduleUnload(module);

    public int ModuleGetFunction(out nint function, nint module, byte* name)
    {
        fixed (nint* p = &function)
        {
            return _moduleGetFunction(p, module, name);
        }
    }

    public int Launch(nint function, LaunchShape shape, nint stream, void** arguments, bool mayBeginEarly)
    {
        if (!mayBeginEarly || _launchKernelEx is null)
        {
            return _launchKernel(function, shape.X, shape.Y, shape.Z, shape.Threads, 1, 1, 0, stream, arguments, null);
        }

        var attribute = new LaunchAttribute { Id = ProgrammaticStreamSerialization, Value = 1 };
        var configuration = new LaunchConfiguration
        {
            GridX = shape.X, GridY = shape.Y, GridZ = shape.Z, BlockX = shape.Threads, BlockY = 1, BlockZ = 1, Stream = stream, Attributes = &attribute, AttributeCount = 1,
        };
        return _launchKernelEx(&configuration, function, arguments, null);
    }

    public int StreamBeginCapture(nint stream) => _streamBeginCapture(stream, CaptureOfThisThread);

    public int StreamEndCapture(nint stream, out nint graph)
    {
        fixed (nint* p = &graph)
        {
            return _streamEndCapture(stream, p);
        }
    }

    public int GraphInstantiate(out nint executable, nint graph)
    {
        fixed (nint* p = &executable)
        {
            return _graphInstantiate(p, graph, 0);
        }
    }

    public int GraphLaunch(nint executable, nint stream) => _graphLaunch(executable, stream);

    public int GraphDestroy(nint graph) => _graphDestroy(graph);

    public int GraphExecutableDestroy(nint executable) => _graphExecutableDestroy(executable);

    public string Describe(int status)
    {
        byte* name = null, text = null;
        _ = _getErrorName(status, &name);
        _ = _getErrorString(status, &text);
        return $"{Marshal.PtrToStringUTF8((nint)name) ?? "unknown"}, {Marshal.PtrToStringUTF8((nint)text) ?? "no description"}";
    }

    /// <summary>CUlaunchConfig.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct LaunchConfiguration
    {
        public uint GridX;
        public uint GridY;
        public uint GridZ;
        public uint BlockX;
        public uint BlockY;
        public uint BlockZ;
        public uint SharedMemoryBytes;
        public nint Stream;
        public LaunchAttribute* Attributes;
        public uint AttributeCount;
    }

    /// <summary>CUlaunchAttribute: a number, padding to eight bytes, and a union of 64.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 72)]
    internal struct LaunchAttribute
    {
        [FieldOffset(0)]
        public int Id;

        [FieldOffset(8)]
        public int Value;
    }
}
