using System.Runtime.InteropServices;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>Aligned memory outside the collector's reach, all freed together.</summary>
internal sealed unsafe class NativeBuffers : IDisposable
{
    private const int Alignment = 64;

    private readonly List<nint> parts = [];

    /// <summary>Zeroed room for floats.</summary>
    public float* Allocate(long length)
    {
        nuint bytes = (nuint)length * sizeof(float);
        void* part = NativeMemory.AlignedAlloc(bytes, Alignment);
        NativeMemory.Clear(part, bytes);
        parts.Add((nint)part);
        return (float*)part;
    }

    /// <summary>Frees everything.</summary>
    public void Dispose()
    {
        foreach (nint part in parts)
        {
            NativeMemory.AlignedFree((void*)part);
        }

        parts.Clear();
    }
}
