using System.Collections.Concurrent;
using System.Text;
using Armor.Cuda.Interop;

namespace Armor.Cuda.Devices;

/// <summary>Compiled kernels on the device.</summary>
internal sealed unsafe class CudaModule : DriverHandle
{
    private readonly ConcurrentDictionary<string, nint> _functions = [];

    /// <param name="device">Where to load it.</param>
    /// <param name="image">Machine code or PTX.</param>
    /// <exception cref="CudaException">The driver does not take it.</exception>
    public CudaModule(CudaDevice device, ReadOnlySpan<byte> image)
        : base(device)
    {
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

    /// <summary>Queues a kernel. Its one parameter is a structure.</summary>
    /// <param name="kernel">Its name.</param>
    /// <param name="shape">Blocks and threads.</param>
    /// <param name="arguments">The structure; copied.</param>
    /// <param name="stream">The queue.</param>
    public void Launch<T>(string kernel, LaunchShape shape, T arguments, CudaStream stream)
        where T : unmanaged
    {
        Device.Use();
        var function = _functions.GetOrAdd(kernel, Find);
        void* parameter = &arguments;
        var status = Device.Driver.Launch(function, shape, stream.Handle, &parameter, Device.CanBeginEarly);
        if (status != 0)
        {
            throw new CudaException("cuLaunchKernel", status, Device.Driver.Describe(status), $"{kernel}, {shape.X}×{shape.Y}×{shape.Z} blocks of {shape.Threads}");
        }
    }

    protected override int Release() => Device.Driver.ModuleUnload(handle);

    private nint Find(string kernel)
    {
        fixed (byte* name = Encoding.ASCII.GetBytes(kernel + '\0'))
        {
            Device.Check("cuModuleGetFunction", Device.Driver.ModuleGetFunction(out var function, handle, name), kernel);
            return function;
        }
    }
}
