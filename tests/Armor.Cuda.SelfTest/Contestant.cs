using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.SelfTest;

/// <summary>One way of multiplying by one weight: copies of the weight beyond the second-level cache, worked through one after another.</summary>
/// <param name="name">For the table.</param>
/// <param name="bytes">What one product reads of the weight.</param>
/// <param name="copies">Number of copies.</param>
/// <param name="multiply">Queues the product by a copy.</param>
/// <param name="release">Gives the copies back.</param>
internal sealed class Contestant(string name, long bytes, int copies, Action<int> multiply, Action release) : IDisposable
{
    private const double RoundMilliseconds = 20;

    private readonly List<double> _microseconds = [];
    private CudaGraph? _graph;
    private int _repeats = 1;

    public string Name => name;

    public long Bytes => bytes;

    /// <summary>The median of the rounds so far.</summary>
    public double Microseconds => _microseconds.Order().ElementAt(_microseconds.Count / 2);

    public double Shortest => _microseconds.Min();

    /// <summary>Memory, kernels, searches: all that happens but once. Scratch memory may move, so that nothing may be recorded before all are warm.</summary>
    public void Warm(DeviceRun run)
    {
        for (var copy = 0; copy < copies; copy++)
        {
            multiply(copy);
        }

        run.Stream.Synchronize();
    }

    /// <summary>Records the products of all copies, and finds how often to repeat them.</summary>
    public void Record(DeviceRun run)
    {
        _graph = CudaGraph.Capture(run.Device, run.Stream, () =>
        {
            for (var copy = 0; copy < copies; copy++)
            {
                multiply(copy);
            }
        });
        var once = Time(run);
        _repeats = (int)Math.Clamp(RoundMilliseconds * 1000 / (once * copies), 1, 2000);
    }

    /// <summary>One more round.</summary>
    public void Measure(DeviceRun run) => _microseconds.Add(Time(run));

    public void Dispose()
    {
        _graph?.Dispose();
        release();
    }

    /// <summary>Microseconds a product, by the device's clock.</summary>
    private double Time(DeviceRun run)
    {
        using var start = run.Device.CreateEvent();
        using var end = run.Device.CreateEvent();
        _graph!.Launch(run.Stream); // warm
        start.Record(run.Stream);
        for (var i = 0; i < _repeats; i++)
        {
            _graph.Launch(run.Stream);
        }

        end.Record(run.Stream);
        run.Stream.Synchronize();
        return start.Until(end).TotalMicroseconds / ((double)_repeats * copies);
    }
}
