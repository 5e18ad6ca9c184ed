using Armor.Cuda.Packing;

namespace Armor.Cuda.SelfTest;

/// <summary>A large weight out of a few packed parts of random numbers, since packing all of it anew would take longer than measuring it.</summary>
internal sealed class RepeatedParts : IPackedParts
{
    private readonly byte[][] _parts;

    /// <param name="source">Few parts.</param>
    /// <param name="count">How many are wanted.</param>
    public RepeatedParts(IPackedParts source, int count)
    {
        Count = count;
        PartBytes = source.PartBytes;
        _parts = new byte[source.Count][];
        for (var i = 0; i < _parts.Length; i++)
        {
            _parts[i] = new byte[PartBytes];
            source.Pack(i, _parts[i]);
        }
    }

    public int Count { get; }

    public int PartBytes { get; }

    public void Pack(int part, Span<byte> destination) => _parts[part % _parts.Length].CopyTo(destination);
}
