namespace Armor.Cuda.Devices;

/// <summary>Work that was recorded once and is queued again as a whole, which takes the machine a few microseconds however many kernels it has.</summary>
internal sealed class CudaGraph : DriverHandle
{
    private CudaGraph(CudaDevice device, nint executable)
        : base(device)
    {
        SetHandle(executable);
    }

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
        Device.Use();
        Device.Check("cuGraphLaunch", Device.Driver.GraphLaunch(handle, stream.Handle));
    }

    protected override int Release() => Device.Driver.GraphExecutableDestroy(handle);
}
