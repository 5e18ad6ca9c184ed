using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>How keys and values lie in the card's memory: pages of 64 positions of all layers, as heads.cu describes them.</summary>
internal sealed class CacheShape
{
    /// <summary>Positions in a page.</summary>
    public const int PagePositions = 64;

    /// <summary>The largest head: what attention's shared memory has room for.</summary>
    public const int MostHeadSize = 512;

    private const int ChunkBytes = 16;

    /// <param name="configuration">The model.</param>
    /// <param name="type">Float32 or Float16.</param>
    public CacheShape(ModelConfiguration configuration, TensorElementType type)
    {
        ElementBytes = type == TensorElementType.Float16 ? sizeof(ushort) : sizeof(float);
        var chunk = ChunkBytes / ElementBytes;
        Stride = (configuration.HeadSize + chunk - 1) / chunk * chunk;
        PageBytes = (long)configuration.LayerCount * configuration.KeyValueHeadCount * 2 * PagePositions * Stride * ElementBytes;
    }

    /// <summary>Bytes of a key's or value's element.</summary>
    public int ElementBytes { get; }

    /// <summary>Distance between neighbouring positions, in elements: what a thread loads at once divides it.</summary>
    public int Stride { get; }

    /// <summary>The size of a page.</summary>
    public long PageBytes { get; }

    /// <summary>How many pages so many positions take.</summary>
    public static long PagesOf(long positions) => (positions + PagePositions - 1) / PagePositions;
}
