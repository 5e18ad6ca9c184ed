using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;
using Armor.Cuda.Interop;

namespace Armor.Cuda.Devices;

/// <summary>Compiled kernels on the device.</summary>
internal sealed unsafe class CudaModule : SafeHandle
{
    private readonly CudaDevice _device;
    private readonly ConcurrentDictionary<string, nint> _functions = [];

    /// <param name="device">Where to load it.</param>
    /// <param name="image">Machine code or PTX.</param>
    /// <exception cref="CudaException">The driver does not take it.</exception>
    public CudaModule(CudaDevice device, ReadOnlySpan<byte> image)
        : base(0, ownsHandle: true)
    {
        _device = device;
        device.Use();

        // PTX must end in a zero.
        var terminated = new byte[image.Length + 1];
        image.CopyTo(terminated);
        fixed (byte* p = terminated)
        {
            device.Check("cuModuleLoadData", device.Driver.ModuleLoad(out var module, p), $"{image.Length} bytes");
            SetHandle(module);
        }
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Queues a kernel. Its one parameter is a structure.</summary>
    /// <param name="kernel">Its name.</param>
    /// <param name="shape">Blocks and threads.</param>
    /// <param name="arguments">The structure; copied.</param>
    /// <param name="stream">The queue.</param>
    public void Launch<T>(string kernel, LaunchShape shape, T arguments, CudaStream stream)
        where T : unmanaged
    {
        _device.Use();
        var function = _functions.GetOrAdd(kernel, Find);
        void* parameter = &arguments;
        var status = _device.Driver.Launch(function, shape, stream.Handle, &parameter, _device.CanBeginEarly);
        if (status != 0)
        {
            throw new CudaException("cuLaunchKernel", status, _device.Driver.Describe(status), $"{kernel}, {shape.X}×{shape.Y}×{shape.Z} blocks of {shape.Threads}");
        }
    }

    protected override bool ReleaseHandle() => !_device.TryUse() || _device.Driver.ModuleUnload(handle) == 0;

    private nint Find(string kernel)
    {
        fixed (byte* name = Encoding.ASCII.GetBytes(kernel + '\0'))
        {
            _device.Check("cuModuleGetFunction", _device.Driver.ModuleGetFunction(out var function, handle, name), kernel);
            return function;
        }
    }
}
