using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Decoding;

/// <summary>A model's norms and biases: many small vectors in one piece of the card's memory.</summary>
internal sealed class DeviceVectors : IDisposable
{
    private const int Multiple = 4; // floats: sixteen bytes

    private readonly List<(ReadOnlyMemory<float> Values, long Place)> _vectors = [];
    private DeviceMemory? _memory;
    private long _count;

    /// <summary>Adds a vector, to be copied by <see cref="Upload"/>.</summary>
    /// <param name="values">Null for none.</param>
    public DeviceVector Add(ReadOnlyMemory<float>? values)
    {
        if (values is not { } own)
        {
            return default;
        }

        var vector = new DeviceVector(this, _count);
        _vectors.Add((own, _count));
        _count += (own.Length + Multiple - 1) / Multiple * Multiple;
        return vector;
    }

    /// <summary>Copies all of them to the card.</summary>
    public void Upload(DeviceRun run)
    {
        _memory = run.Device.Allocate(Math.Max(1, _count) * sizeof(float));
        foreach (var (values, place) in _vectors)
        {
            var bytes = values.Length * sizeof(float);
            var staging = run.Staging(bytes);
            values.Span.CopyTo(staging.AsSpan<float>(values.Length));
            _memory.CopyFrom(staging, bytes, run.Stream, place * sizeof(float));
            run.Stream.Synchronize();
        }

        _vectors.Clear();
    }

    /// <summary>Where a place lies, after <see cref="Upload"/>.</summary>
    public nint AddressOf(long place) => _memory!.Address + (nint)(place * sizeof(float));

    /// <inheritdoc/>
    public void Dispose() => _memory?.Dispose();
}

/// <summary>One of the vectors, or none.</summary>
internal readonly record struct DeviceVector(DeviceVectors? Owner, long Place)
{
    /// <summary>Its address; 0 where there is none.</summary>
    public nint Address => Owner?.AddressOf(Place) ?? 0;
}
