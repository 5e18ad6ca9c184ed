using System.Runtime.InteropServices;
using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>
/// Queues a layer's mixture of experts whose weights are too unlike for <see cref="ChosenExperts"/>. Which experts a row goes through is decided here, by the
/// router's scores, which come back for it: a wait a layer. Rows of one expert are multiplied together; a row's sum runs in the experts' order.
/// </summary>
internal sealed class ExpertPass : IDisposable
{
    private const uint Threads = 256;

    private readonly ModelConfiguration _configuration;
    private readonly ExpertConfiguration _experts;
    private readonly Activations _activations;
    private readonly PinnedMemory _here;
    private readonly DeviceMemory _selected;
    private readonly List<ExpertRow>[] _rows;

    /// <param name="device">The card.</param>
    /// <param name="configuration">Of a model with experts.</param>
    /// <param name="activations">Where vectors lie.</param>
    /// <param name="mostRows">Of a pass.</param>
    public ExpertPass(CudaDevice device, ModelConfiguration configuration, Activations activations, int mostRows)
    {
        (_configuration, _experts, _activations) = (configuration, configuration.Experts!, activations);
        _rows = [.. Enumerable.Range(0, _experts.Count).Select(_ => new List<ExpertRow>())];
        _here = device.AllocatePinned((long)mostRows * Math.Max(_experts.Count * sizeof(float), _experts.PerToken * Marshal.SizeOf<ExpertRow>()));
        try
        {
            _selected = device.Allocate((long)mostRows * _experts.PerToken * Marshal.SizeOf<ExpertRow>());
        }
        catch
        {
            _here.Dispose();
            throw;
        }
    }

    /// <summary>Queues the experts of the first rows of the normed vectors; their sums are what is to be added.</summary>
    /// <param name="run">Its stream is used, and waited for.</param>
    /// <param name="own">The layer's.</param>
    /// <param name="rows">At least 1.</param>
    /// <param name="queueMlp">Queues an expert: from where, how many rows, to where.</param>
    public void Queue(DeviceRun run, DeviceExperts own, int rows, Action<DeviceMlp, nint, int, nint> queueMlp)
    {
        Choose(run, own, rows);
        run.Clear(_activations.Added, (long)rows * _configuration.HiddenSize * sizeof(float));
        var first = 0;
        for (var expert = 0; expert < _rows.Length; expert++)
        {
            var count = _rows[expert].Count;
            if (count > 0)
            {
                var selected = _selected.Address + (first * Marshal.SizeOf<ExpertRow>());
                Select(run, selected, count, _activations.Normed, 0, _activations.ExpertInput, isAdded: false);
                queueMlp(own.Experts[expert], _activations.ExpertInput, count, _activations.ExpertOutput);
                Select(run, selected, count, _activations.ExpertOutput, own.Experts[expert].Down.Bias.Address, _activations.Added, isAdded: true);
                first += count;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _here.Dispose();
        _selected.Dispose();
    }

    /// <summary>Brings the scores here, and the rows of each expert there.</summary>
    private void Choose(DeviceRun run, DeviceExperts own, int rows)
    {
        own.Router.Product.Multiply(run, _activations.Normed, rows, _activations.Scores.Address);
        _activations.Scores.CopyTo(_here, (long)rows * _experts.Count * sizeof(float), run.Stream);
        run.Stream.Synchronize();
        Array.ForEach(_rows, list => list.Clear());
        for (var row = 0; row < rows; row++)
        {
            var weights = _here.AsSpan<float>(rows * _experts.Count).Slice(row * _experts.Count, _experts.Count);
            own.Weights.Choose(weights);
            for (var expert = 0; expert < weights.Length; expert++)
            {
                if (weights[expert] > 0)
                {
                    _rows[expert].Add(new ExpertRow { Row = row, Weight = weights[expert] });
                }
            }
        }

        var count = _rows.Sum(list => list.Count);
        var selected = _here.AsSpan<ExpertRow>(count);
        foreach (var list in _rows)
        {
            CollectionsMarshal.AsSpan(list).CopyTo(selected);
            selected = selected[list.Count..];
        }

        _selected.CopyFrom(_here, (long)count * Marshal.SizeOf<ExpertRow>(), run.Stream);
        run.Stream.Synchronize(); // the next layer's scores come to the same place
    }

    private void Select(DeviceRun run, nint selected, int count, nint from, nint bias, nint to, bool isAdded) => run.Launch(
        KernelNames.Select, ((uint)_configuration.HiddenSize + Threads - 1) / Threads, (uint)count, 1, Threads, new SelectArguments
        {
            Selected = selected, From = from, Bias = bias, To = to, Size = _configuration.HiddenSize, IsAdded = isAdded ? 1 : 0,
        });
}
