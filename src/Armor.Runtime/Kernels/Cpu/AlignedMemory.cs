using System.Runtime.InteropServices;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// Memory for weights, outside the garbage collector's heap: aligned to a page of 2 MiB where it is larger, so that the system can give it such pages.
/// A safe handle, so that what reads it while it is disposed of is waited for.
/// </summary>
internal sealed unsafe partial class AlignedMemory : SafeHandle
{
    private const int LargePage = 2 << 20;
    private const int CacheLine = 64;
    private const int AdviseHugePages = 14;

    // Kernels fetch a little beyond their last line; the reads themselves stay inside.
    private const int Tail = 256;

    /// <summary>Takes memory; its content is undefined.</summary>
    /// <param name="bytes">How much.</param>
    /// <exception cref="OutOfMemoryException">There is not so much.</exception>
    public AlignedMemory(long bytes)
        : base(0, ownsHandle: true)
    {
        Bytes = bytes;
        var isLarge = bytes >= LargePage;
        var size = isLarge ? (nuint)((bytes + Tail + LargePage - 1) / LargePage * LargePage) : (nuint)(bytes + Tail);
        SetHandle((nint)NativeMemory.AlignedAlloc(size, isLarge ? (nuint)LargePage : CacheLine));
        if (isLarge && OperatingSystem.IsLinux())
        {
            // A last page that would be mostly empty stays small: in a model of some hundred matrices those would be a tenth of its memory. Only a hint:
            // what it returns changes nothing.
            var whole = (nuint)((bytes + (LargePage / 4)) / LargePage * LargePage);
            _ = Advise(handle, whole, AdviseHugePages);
        }
    }

    /// <summary>What was asked for.</summary>
    public long Bytes { get; }

    public override bool IsInvalid => handle == 0;

    /// <summary>The first byte; only between <see cref="SafeHandle.DangerousAddRef"/> and its release, or while nobody can dispose of it.</summary>
    public byte* Pointer => (byte*)handle;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
