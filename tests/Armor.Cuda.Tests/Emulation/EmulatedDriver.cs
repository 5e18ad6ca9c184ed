using System.Runtime.InteropServices;
using System.Text;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Tests.Emulation;

/// <summary>
/// A driver whose card is this machine: memory between guards, full of what is no number; kernels that run at once, in the emulator. Checks what a card
/// would not say: writes beyond an allocation, memory given back twice or never, copies outside of it. Work in the stream is done no earlier than somebody waits for it, so
/// that memory of the machine which changes too early, or is read too early, gives wrong results.
/// </summary>
internal sealed unsafe class EmulatedDriver(int capability = 90, int multiprocessors = 3, long memoryBytes = 1L << 32) : ICudaDriver, IDisposable
{
    public const int OutOfMemory = 2;
    public const int InvalidValue = 1;
    public const int LaunchFailed = 719;
    public const int NotWhileRecording = 900;

    private const int Guard = 256;
    private const byte GuardByte = 0xA5;

    // Not a number in every type of float.
    private const byte Unset = 0xFF;

    private readonly Lock _gate = new();
    private readonly Dictionary<nint, nuint> _allocations = [];
    private readonly Dictionary<nint, nuint> _hostAllocations = [];
    private readonly Dictionary<nint, string> _functions = [];
    private readonly HashSet<nint> _handles = [];
    private readonly Dictionary<nint, List<Func<int>>> _graphs = [];
    private readonly Queue<Func<int>> _pending = [];
    private readonly List<nint> _pendingHost = []; // ends of queued copies that are this machine's
    private List<Func<int>>? _captured;
    private int _capturingThread;
    private long _lastHandle = 1000;
    private nint _library;
    private string _message = "";
    private uint _launches;

    /// <summary>What was done wrongly.</summary>
    public List<string> Violations { get; } = [];

    /// <summary>Kernels in the order of their launches.</summary>
    public List<string> Launches { get; } = [];

    /// <summary>Allocations, streams and events that nobody has given back.</summary>
    public int Held => _allocations.Count + _hostAllocations.Count + _handles.Count;

    /// <summary>Whether work is done when it is queued: for libraries that do theirs at once.</summary>
    public bool RunsAtOnce { get; init; }

    /// <summary>As cuDriverGetVersion tells it.</summary>
    public int Version { get; init; } = 13000;

    /// <summary>Kernels that were allowed to begin before the one in front had ended.</summary>
    public int EarlyLaunches { get; private set; }

    /// <summary>Called before each launch.</summary>
    public Action? Launching { get; set; }

    /// <summary>A function that is to fail, with its status.</summary>
    public (string Call, int Status)? Failure { get; set; }

    public int Init() => Status(nameof(Init));

    public int DriverGetVersion(out int version)
    {
        version = Version;
        return 0;
    }

    public int DeviceGetCount(out int count)
    {
        count = 1;
        return Status(nameof(DeviceGetCount));
    }

    public int DeviceGet(out int device, int ordinal)
    {
        device = 7;
        return ordinal == 0 ? 0 : 101;
    }

    public int DeviceGetName(byte* name, int length, int device)
    {
        var text = "Emulated card\0"u8;
        text.CopyTo(new Span<byte>(name, length));
        return 0;
    }

    public int DeviceGetAttribute(out int value, int attribute, int device)
    {
        value = attribute switch { 16 => multiprocessors, 75 => capability / 10, 76 => capability % 10, _ => -1 };
        return value < 0 ? InvalidValue : 0;
    }

    public int DeviceTotalMemory(out nuint bytes, int device)
    {
        bytes = (nuint)memoryBytes;
        return 0;
    }

    public int PrimaryContextRetain(out nint context, int device)
    {
        context = 42;
        return Status(nameof(PrimaryContextRetain));
    }

    public int PrimaryContextRelease(int device) => 0;

    public int ContextSetCurrent(nint context) => context == 42 ? 0 : 201;

    public int MemoryGetInfo(out nuint free, out nuint total)
    {
        total = (nuint)memoryBytes;
        lock (_gate)
        {
            free = total - (nuint)_allocations.Values.Sum(bytes => (long)bytes);
        }

        return 0;
    }

    public int MemoryAllocate(out nint address, nuint bytes)
    {
        address = 0;
        if (Status(nameof(MemoryAllocate)) is not 0 and var status)
        {
            return status;
        }

        if (IsForbidden("memory was asked for"))
        {
            return NotWhileRecording;
        }

        _ = MemoryGetInfo(out var free, out _);
        if (bytes == 0 || bytes > free)
        {
            return bytes == 0 ? InvalidValue : OutOfMemory;
        }

        lock (_gate)
        {
            var start = (byte*)NativeMemory.AlignedAlloc(bytes + (2 * Guard), Guard);
            NativeMemory.Fill(start, bytes + (2 * Guard), GuardByte);
            address = (nint)start + Guard;
            NativeMemory.Fill((void*)address, bytes, Unset);
            _allocations.Add(address, bytes);
            if (_library != 0)
            {
                Allocated(address, bytes);
            }
        }

        return 0;
    }

    public int MemoryFree(nint address)
    {
        if (IsForbidden("memory was given back"))
        {
            return NotWhileRecording;
        }

        if (_pending.Count > 0)
        {
            Violations.Add("memory was given back while work was queued");
            _ = Work();
        }

        lock (_gate)
        {
            if (!_allocations.Remove(address, out var bytes))
            {
                Violations.Add($"memory {address} was given back that nobody holds");
                return InvalidValue;
            }

            CheckGuards(address, bytes);
            if (_library != 0)
            {
                ((delegate* unmanaged<nint, void>)NativeLibrary.GetExport(_library, "armor_emulator_freed"))(address);
            }

            NativeMemory.AlignedFree((byte*)address - Guard);
        }

        return 0;
    }

    public int HostAllocate(out nint address, nuint bytes)
    {
        address = (nint)NativeMemory.AlignedAlloc(bytes, 4096);
        NativeMemory.Fill((void*)address, bytes, Unset);
        lock (_gate)
        {
            _hostAllocations.Add(address, bytes);
        }

        return 0;
    }

    public int HostFree(nint address)
    {
        lock (_gate)
        {
            if (!_hostAllocations.Remove(address, out var bytes))
            {
                Violations.Add($"pinned memory {address} was given back that nobody holds");
                return InvalidValue;
            }

            if (_pendingHost.Any(pending => pending >= address && (nuint)(pending - address) < bytes))
            {
                Violations.Add("pinned memory was given back while a copy of it was queued");
                _ = Work();
            }
        }

        NativeMemory.AlignedFree((void*)address);
        return 0;
    }

    public int CopyToDevice(nint destination, nint source, nuint bytes, nint stream) => Copy(destination, source, bytes, stream, destination);

    public int CopyToHost(nint destination, nint source, nuint bytes, nint stream) => Copy(destination, source, bytes, stream, source);

    public int CopyOnDevice(nint destination, nint source, nuint bytes, nint stream)
        => IsInside(source, bytes) ? Copy(destination, source, bytes, stream, destination) : InvalidValue;

    public int Fill(nint destination, byte value, nuint bytes, nint stream)
    {
        if (!IsInside(destination, bytes))
        {
            return InvalidValue;
        }

        return Queue(() =>
        {
            NativeMemory.Fill((void*)destination, bytes, value);
            return 0;
        });
    }

    public int StreamCreate(out nint stream) => Create(out stream);

    public int StreamDestroy(nint stream) => Destroy(stream);

    public int StreamSynchronize(nint stream)
    {
        if (!_handles.Contains(stream))
        {
            return InvalidValue;
        }

        return Work() is not 0 and var failed ? failed : Status(nameof(StreamSynchronize));
    }

    public int EventCreate(out nint handle) => Create(out handle);

    public int EventDestroy(nint handle) => Destroy(handle);

    public int EventRecord(nint handle, nint stream) => 0;

    public int EventSynchronize(nint handle) => Work();

    public int EventElapsedTime(out float milliseconds, nint start, nint end)
    {
        milliseconds = 1;
        return 0;
    }

    public int ModuleLoad(out nint module, byte* image)
    {
        module = 0;
        if (Status(nameof(ModuleLoad)) is not 0 and var status)
        {
            return status;
        }

        module = _library = NativeLibrary.Load(Marshal.PtrToStringUTF8((nint)image)!);
        lock (_gate)
        {
            foreach (var (address, bytes) in _allocations)
            {
                Allocated(address, bytes);
            }
        }

        return 0;
    }

    public int ModuleUnload(nint module) => 0; // other fixtures may be running the same library

    public int ModuleGetFunction(out nint function, nint module, byte* name)
    {
        var kernel = Marshal.PtrToStringUTF8((nint)name)!;
        if (!NativeLibrary.TryGetExport(module, kernel + "_emulated", out function))
        {
            return 500;
        }

        _functions[function] = kernel;
        return 0;
    }

    public int Launch(nint function, LaunchShape shape, nint stream, void** arguments, bool mayBeginEarly)
    {
        if (Status(nameof(Launch)) is not 0 and var status)
        {
            return status;
        }

        if (shape.X == 0 || shape.Y is 0 or > 65535 || shape.Z is 0 or > 65535 || shape.Threads is 0 or > 1024 || !_handles.Contains(stream))
        {
            return InvalidValue;
        }

        // A launch copies its arguments.
        var size = KernelNames.All.Single(kernel => kernel.Name == _functions[function]).Bytes;
        var copy = new ReadOnlySpan<byte>(arguments[0], size).ToArray();
        if (IsRecording)
        {
            _captured!.Add(() =>
            {
                fixed (void* p = copy)
                {
                    var parameter = p;
                    return Launch(function, shape, stream, &parameter, mayBeginEarly);
                }
            });
            return 0;
        }

        Launching?.Invoke();
        EarlyLaunches += mayBeginEarly ? 1 : 0;
        Launches.Add(_functions[function]);
        return Queue(() => Run(function, shape, copy));
    }

    public int StreamBeginCapture(nint stream)
    {
        _captured = [];
        _capturingThread = Environment.CurrentManagedThreadId;
        return 0;
    }

    public int StreamEndCapture(nint stream, out nint graph)
    {
        _ = Create(out graph);
        _graphs[graph] = _captured!;
        _captured = null;
        return 0;
    }

    public int GraphInstantiate(out nint executable, nint graph)
    {
        _ = Create(out executable);
        _graphs[executable] = _graphs[graph];
        return 0;
    }

    public int GraphLaunch(nint executable, nint stream)
        => _handles.Contains(executable) ? _graphs[executable].Select(launch => launch()).FirstOrDefault(status => status != 0) : InvalidValue;

    public int GraphDestroy(nint graph) => Destroy(graph);

    public int GraphExecutableDestroy(nint executable) => Destroy(executable);

    public string Describe(int status) => status switch
    {
        OutOfMemory => "CUDA_ERROR_OUT_OF_MEMORY, out of memory",
        LaunchFailed => $"CUDA_ERROR_LAUNCH_FAILED, {_message}",
        _ => $"CUDA_ERROR_{status}, emulated",
    };

    /// <summary>Looks for writes beyond what is still held.</summary>
    public void CheckAllGuards()
    {
        lock (_gate)
        {
            foreach (var (address, bytes) in _allocations)
            {
                CheckGuards(address, bytes);
            }
        }
    }

    public void Dispose()
    {
        foreach (var address in _allocations.Keys.ToArray())
        {
            _ = MemoryFree(address);
        }

        foreach (var address in _hostAllocations.Keys.ToArray())
        {
            _ = HostFree(address);
        }
    }

    private void Allocated(nint address, nuint bytes)
        => ((delegate* unmanaged<nint, nuint, void>)NativeLibrary.GetExport(_library, "armor_emulator_allocated"))(address, bytes);

    private void CheckGuards(nint address, nuint bytes)
    {
        if (new Span<byte>((byte*)address - Guard, Guard).ContainsAnyExcept(GuardByte) || new Span<byte>((byte*)address + bytes, Guard).ContainsAnyExcept(GuardByte))
        {
            Violations.Add($"written beyond an allocation of {bytes} bytes");
        }
    }

    private bool IsRecording => _captured is not null && _capturingThread == Environment.CurrentManagedThreadId;

    /// <summary>What a driver does not allow the thread that records.</summary>
    private bool IsForbidden(string what)
    {
        if (IsRecording)
        {
            Violations.Add($"{what} while work was recorded");
        }

        return IsRecording;
    }

    private int Queue(Func<int> work)
    {
        if (IsForbidden("copied or filled"))
        {
            return NotWhileRecording;
        }

        _pending.Enqueue(work);
        return RunsAtOnce ? Work() : 0;
    }

    /// <summary>Does what is queued.</summary>
    private int Work()
    {
        if (IsForbidden("waited"))
        {
            return NotWhileRecording;
        }

        var status = 0;
        _pendingHost.Clear();
        while (_pending.TryDequeue(out var work))
        {
            status = status == 0 ? work() : status;
        }

        return status;
    }

    private int Run(nint function, LaunchShape shape, byte[] arguments)
    {
        var error = stackalloc byte[256];
        fixed (void* p = arguments)
        {
            ((delegate* unmanaged<void*, uint, uint, uint, uint, uint, byte*, void>)function)(p, shape.X, shape.Y, shape.Z, shape.Threads, ++_launches, error);
        }

        if (*error != 0)
        {
            _message = $"{_functions[function]}: {Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(error))}";
            Violations.Add(_message);
            return LaunchFailed;
        }

        return 0;
    }

    private int Copy(nint destination, nint source, nuint bytes, nint stream, nint onDevice)
    {
        if (!IsInside(onDevice, bytes) || !_handles.Contains(stream))
        {
            Violations.Add($"a copy of {bytes} bytes outside of every allocation");
            return InvalidValue;
        }

        _pendingHost.Add(onDevice == destination ? source : destination);
        return Queue(() =>
        {
            NativeMemory.Copy((void*)source, (void*)destination, bytes);
            return 0;
        });
    }

    private bool IsInside(nint address, nuint bytes)
    {
        lock (_gate)
        {
            return _allocations.Any(allocation => address >= allocation.Key && (nuint)(address - allocation.Key) + bytes <= allocation.Value);
        }
    }

    private int Create(out nint handle)
    {
        handle = (nint)Interlocked.Increment(ref _lastHandle);
        lock (_gate)
        {
            _handles.Add(handle);
        }

        return 0;
    }

    private int Destroy(nint handle)
    {
        lock (_gate)
        {
            return _handles.Remove(handle) ? 0 : InvalidValue;
        }
    }

    private int Status(string call) => Failure is { } failure && failure.Call == call ? failure.Status : 0;
}
