using System.Runtime.InteropServices;

namespace Armor.Cuda.Devices;

/// <summary>Work that was recorded once and is queued again as a whole, which takes the machine a few microseconds however many kernels it has.</summary>
internal sealed class CudaGraph : SafeHandle
{
    private readonly CudaDevice _device;

    private CudaGraph(CudaDevice device, nint executable)
        : base(0, ownsHandle: true)
    {
        _device = device;
        SetHandle(executable);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Records. The work must have run once before, since memory cannot be allocated meanwhile, and what it uses must stay where it is.</summary>
    /// <param name="device">The card.</param>
    /// <param name="stream">Where the work is queued.</param>
    /// <param name="work">Queues it.</param>
    /// <exception cref="CudaException">It cannot be recorded.</exception>
    public static CudaGraph Capture(CudaDevice device, CudaStream stream, Action work)
    {
        device.Use();
        device.Check("cuStreamBeginCapture", device.Driver.StreamBeginCapture(stream.Handle));
        nint graph;
        try
        {
            work();
        }
        catch
        {
            // Ends the recording, so that the stream can be used again.
            if (device.Driver.StreamEndCapture(stream.Handle, out graph) == 0)
            {
                _ = device.Driver.GraphDestroy(graph);
            }

            throw;
        }

        device.Check("cuStreamEndCapture", device.Driver.StreamEndCapture(stream.Handle, out graph));
        try
        {
            device.Check("cuGraphInstantiate", device.Driver.GraphInstantiate(out var executable, graph));
            return new CudaGraph(device, executable);
        }
        finally
        {
            _ = device.Driver.GraphDestroy(graph);
        }
    }

    /// <summary>Queues the work.</summary>
    public void Launch(CudaStream stream)
    {
        _device.Use();
        _device.Check("cuGraphLaunch", _device.Driver.GraphLaunch(handle, stream.Handle));
    }

    protected override bool ReleaseHandle() => !_device.TryUse() || _device.Driver.GraphExecutableDestroy(handle) == 0;
}
