namespace Armor.Cuda.Packing;

/// <summary>A matrix in a form of the device, made part by part, so that it is never in memory as a whole. Parts are made from several threads at once.</summary>
internal interface IPackedParts
{
    /// <summary>Number of parts.</summary>
    int Count { get; }

    /// <summary>The size of each part in bytes, a multiple of four.</summary>
    int PartBytes { get; }

    /// <summary>Makes a part.</summary>
    /// <param name="part">From 0.</param>
    /// <param name="destination">[PartBytes], its content undefined before; filled whole.</param>
    void Pack(int part, Span<byte> destination);
}
