using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// Keys (rotated) and values of the positions computed so far, in float32: for every layer [position, key/value heads × head size]. Grows by
/// doubling, up to the context length.
/// </summary>
internal sealed class KeyValueCache(ModelConfiguration configuration)
{
    private const int FirstCapacity = 64;

    private readonly float[][] _keys = [.. Enumerable.Repeat(Array.Empty<float>(), configuration.LayerCount)];
    private readonly float[][] _values = [.. Enumerable.Repeat(Array.Empty<float>(), configuration.LayerCount)];
    private readonly int _rowSize = configuration.KeyValueSize;
    private int _capacity;

    /// <summary>Makes room for that many positions; what is there stays.</summary>
    public void Reserve(int positions)
    {
        if (positions <= _capacity)
        {
            return;
        }

        var capacity = (int)Math.Min(configuration.ContextLength, Math.Max(positions, Math.Max(FirstCapacity, 2L * _capacity)));
        if ((long)capacity * _rowSize > Array.MaxLength)
        {
            throw new InvalidOperationException(
                $"The keys of {capacity} positions × {_rowSize} do not fit one array of at most {Array.MaxLength} elements.");
        }

        for (var layer = 0; layer < _keys.Length; layer++)
        {
            Array.Resize(ref _keys[layer], capacity * _rowSize);
            Array.Resize(ref _values[layer], capacity * _rowSize);
        }

        _capacity = capacity;
    }

    /// <summary>Keys of a layer, [count, row].</summary>
    public Span<float> Keys(int layer, int first, int count) => _keys[layer].AsSpan(first * _rowSize, count * _rowSize);

    /// <summary>Values of a layer, [count, row].</summary>
    public Span<float> Values(int layer, int first, int count) => _values[layer].AsSpan(first * _rowSize, count * _rowSize);
}
