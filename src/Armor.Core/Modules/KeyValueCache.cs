using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>The keys and values of the positions already computed, for generation token by token. All sequences of the batch advance together.</summary>
public sealed class KeyValueCache : IDisposable
{
    private readonly Tensor[] _keys;
    private readonly Tensor[] _values;

    /// <summary>Reserves an empty cache.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="batch">Number of sequences.</param>
    /// <param name="capacity">Most positions that it will hold.</param>
    /// <param name="type">Element type of keys and values: the type that the model computes in.</param>
    /// <param name="device">Where they lie; null for the CPU.</param>
    public KeyValueCache(ModelConfiguration configuration, int batch, int capacity, ScalarType type = ScalarType.Float32, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        Capacity = capacity;
        long[] shape = [batch, configuration.KeyValueHeadCount, capacity, configuration.HeadSize];
        _keys = Reserve(configuration.LayerCount, shape, type, device);
        _values = Reserve(configuration.LayerCount, shape, type, device);
    }

    private KeyValueCache(Tensor[] keys, Tensor[] values, long length, int capacity)
    {
        (_keys, _values) = (keys, values);
        (Length, Capacity) = (length, capacity);
    }

    /// <summary>Number of positions held.</summary>
    public long Length { get; private set; }

    /// <summary>Most positions that fit.</summary>
    public int Capacity { get; }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach (var tensor in _keys.Concat(_values))
        {
            tensor.Dispose();
        }
    }

    /// <summary>Notes that every layer has stored <paramref name="count"/> further positions.</summary>
    internal void Advance(long count) => Length += count;

    /// <summary>Forgets the latest positions.</summary>
    /// <param name="length">How many to keep, at most <see cref="Length"/>.</param>
    internal void Rewind(long length) => Length = Math.Min(Length, length);

    /// <summary>A cache of several sequences that all begin as the one of this cache.</summary>
    /// <param name="batch">How many.</param>
    /// <param name="capacity">Most positions of the new cache.</param>
    internal KeyValueCache Repeat(int batch, int capacity) => new(
        [.. _keys.Select(keys => Repeated(keys, batch, capacity))], [.. _values.Select(values => Repeated(values, batch, capacity))], Length, capacity);

    /// <summary>Stores one layer's new keys and values, [batch, heads, new, head size], and returns all up to now.</summary>
    internal (Tensor Keys, Tensor Values) Append(int layer, Tensor keys, Tensor values)
    {
        var count = keys.shape[2];
        if (Length + count > Capacity)
        {
            throw new InvalidOperationException($"The cache holds {Capacity} positions; {Length} are used and {count} more do not fit.");
        }

        return (Store(_keys[layer], keys, count), Store(_values[layer], values, count));
    }

    private Tensor Store(Tensor all, Tensor added, long count)
    {
        using var place = all.narrow(2, Length, count);
        place.copy_(added);
        return all.narrow(2, 0, Length + count);
    }

    private Tensor Repeated(Tensor held, int batch, int capacity)
    {
        using var scope = NewDisposeScope();
        Tensor copies = zeros([batch, held.shape[1], capacity, held.shape[3]], held.dtype, held.device);
        copies.narrow(2, 0, Length).copy_(held.narrow(2, 0, Length).expand(batch, -1, -1, -1));
        return copies.DetachFromDisposeScope();
    }

    private static Tensor[] Reserve(int layers, long[] shape, ScalarType type, Device? device) =>
        [.. Enumerable.Range(0, layers).Select(_ => zeros(shape, type, device).DetachFromDisposeScope())];
}
