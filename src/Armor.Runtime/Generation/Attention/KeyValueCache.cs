using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation.Attention;

/// <summary>
/// Keys (rotated) and values of the positions computed so far. It grows by pages of <see cref="PagePositions"/> positions of all layers, so that nothing
/// is ever copied and little is reserved in advance. In a page, for every layer and key/value head: keys [head size, positions], then values
/// [positions, head size], each such that attention reads vectors of neighbours.
/// </summary>
internal sealed unsafe class KeyValueCache : IDecoderSequence
{
    /// <summary>Positions in a page.</summary>
    public const int PagePositions = 64;

    private const int Alignment = 64;

    private readonly int _headSize;
    private readonly int _heads;
    private readonly int _elementSize;
    private readonly long _elementsOfHead;
    private readonly long _pageBytes;
    private readonly List<Page> _pages = [];

    /// <param name="configuration">The model's.</param>
    /// <param name="elementType">Float32 or Float16.</param>
    public KeyValueCache(ModelConfiguration configuration, TensorElementType elementType)
    {
        _headSize = configuration.HeadSize;
        _heads = configuration.KeyValueHeadCount;
        _elementSize = elementType.ByteSize();
        ValueStride = (_headSize + BlockProduct.ColumnStep - 1) / BlockProduct.ColumnStep * BlockProduct.ColumnStep;
        _elementsOfHead = (long)PagePositions * (_headSize + ValueStride);
        _pageBytes = configuration.LayerCount * _heads * _elementsOfHead * _elementSize;
    }

    /// <summary>Distance between the values of neighbouring positions, in elements; those beyond the head size mean nothing.</summary>
    public int ValueStride { get; }

    /// <summary>How many positions there is room for.</summary>
    public int Capacity => _pages.Count * PagePositions;

    /// <summary>Whether <see cref="Keys"/> and <see cref="Values"/> are where they are stored.</summary>
    public bool IsReadInPlace => _elementSize == sizeof(float);

    /// <summary>What <see cref="Keys"/> and <see cref="Values"/> need to turn a block into float32; 0 where it is.</summary>
    public int ScratchSize => IsReadInPlace ? 0 : PagePositions * ValueStride;

    /// <summary>Refuses so many positions as no memory of this machine could hold.</summary>
    /// <exception cref="InsufficientMemoryException">They do not fit.</exception>
    public void CheckFits(long positions)
    {
        var bytes = Pages(positions) * _pageBytes;
        if (bytes > GC.GetGCMemoryInfo().TotalAvailableMemoryBytes || _pageBytes > Array.MaxLength - Alignment)
        {
            throw TooLarge(positions, null);
        }
    }

    /// <summary>Makes room for that many positions; what is there stays, also where this fails.</summary>
    /// <exception cref="InsufficientMemoryException">There is not as much memory.</exception>
    public void Reserve(int positions)
    {
        if (positions <= Capacity)
        {
            return;
        }

        CheckFits(positions);
        try
        {
            while (Capacity < positions)
            {
                _pages.Add(new Page((int)_pageBytes));
            }
        }
        catch (OutOfMemoryException exception)
        {
            throw TooLarge(positions, exception);
        }
    }

    /// <summary>Stores one layer's keys and values of one position.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="position">Below <see cref="Capacity"/>.</param>
    /// <param name="keys">[key/value heads, head size].</param>
    /// <param name="values">Like <paramref name="keys"/>.</param>
    public void Store(int layer, int position, ReadOnlySpan<float> keys, ReadOnlySpan<float> values)
    {
        var (page, column) = Math.DivRem(position, PagePositions);
        for (var head = 0; head < _heads; head++)
        {
            var ownKeys = keys.Slice(head * _headSize, _headSize);
            var ownValues = values.Slice(head * _headSize, _headSize);
            var keyBlock = Block(layer, head, page);
            var valueRow = keyBlock + ((((long)PagePositions * _headSize) + (column * ValueStride)) * _elementSize);
            if (IsReadInPlace)
            {
                var target = (float*)keyBlock + column;
                for (var i = 0; i < ownKeys.Length; i++)
                {
                    target[i * PagePositions] = ownKeys[i];
                }

                ownValues.CopyTo(new Span<float>(valueRow, _headSize));
            }
            else
            {
                // The keys' row is rounded where the values' will be, then spread.
                var rounded = new Span<byte>(valueRow, _headSize * _elementSize);
                FloatConversion.FromFloat32(TensorElementType.Float16, ownKeys, rounded);
                var target = (ushort*)keyBlock + column;
                for (var i = 0; i < ownKeys.Length; i++)
                {
                    target[i * PagePositions] = ((ushort*)valueRow)[i];
                }

                FloatConversion.FromFloat32(TensorElementType.Float16, ownValues, rounded);
            }
        }
    }

    /// <summary>The keys of a page, [head size, <see cref="PagePositions"/>].</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="head">The key/value head.</param>
    /// <param name="page">The page.</param>
    /// <param name="scratch">[<see cref="ScratchSize"/>].</param>
    public float* Keys(int layer, int head, int page, float* scratch) =>
        AsFloat32(Block(layer, head, page), PagePositions * _headSize, scratch);

    /// <summary>The values of a page, [<see cref="PagePositions"/>, <see cref="ValueStride"/>].</summary>
    /// <inheritdoc cref="Keys" path="/param"/>
    public float* Values(int layer, int head, int page, float* scratch) =>
        AsFloat32(Block(layer, head, page) + ((long)PagePositions * _headSize * _elementSize), PagePositions * ValueStride, scratch);

    /// <summary>Forgets everything; the memory is the garbage collector's.</summary>
    public void Dispose() => _pages.Clear();

    private static long Pages(long positions) => (positions + PagePositions - 1) / PagePositions;

    private float* AsFloat32(byte* block, int count, float* scratch)
    {
        if (IsReadInPlace)
        {
            return (float*)block;
        }

        FloatConversion.ToFloat32(TensorElementType.Float16, new ReadOnlySpan<byte>(block, count * _elementSize), new Span<float>(scratch, count));
        return scratch;
    }

    private byte* Block(int layer, int head, int page) => _pages[page].Start + ((((long)layer * _heads) + head) * _elementsOfHead * _elementSize);

    private InsufficientMemoryException TooLarge(long positions, Exception? inner) => new(
        string.Create(
            CultureInfo.InvariantCulture,
            $"The keys and values of {positions} positions take {Pages(positions) * _pageBytes} bytes, and there are not as many. Fewer tokens (MaxTokens), fewer sequences at once, or CacheType Float16 need less."),
        inner);

    /// <summary>Memory that the garbage collector never moves, from an address on that suits vectors.</summary>
    private sealed class Page
    {
        private readonly byte[] _memory;

        public Page(int bytes)
        {
            _memory = GC.AllocateUninitializedArray<byte>(bytes + Alignment, pinned: true);
            var start = (nuint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_memory));
            Start = (byte*)((start + Alignment - 1) & ~(nuint)(Alignment - 1));
        }

        public byte* Start { get; }
    }
}
