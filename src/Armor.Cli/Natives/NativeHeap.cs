using System.Runtime.InteropServices;

namespace Armor.Cli.Natives;

/// <summary>The C library's heap, in which libtorch's tensors live.</summary>
internal static partial class NativeHeap
{
    private const int MmapThreshold = -3;
    private const int ArenaMaximum = -8;
    private const int LargeBytes = 1 << 20;
    private const int Arenas = 2;

    /// <summary>
    /// Makes glibc give freed blocks of a megabyte and more back to the system at once, instead of keeping ever larger ones in its heap, and keep two
    /// heaps for smaller ones, not eight for every processor: that takes two fifths off a large model's peak, and some time. Without effect elsewhere.
    /// </summary>
    public static void KeepSmall()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = SetOption(MmapThreshold, LargeBytes);
            _ = SetOption(ArenaMaximum, Arenas);
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            // Another C library: it has its own ways.
        }
    }

    /// <summary>Gives unused pages within glibc's heaps back to the system. Without effect elsewhere.</summary>
    public static void GiveBack()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = Trim(0);
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            // As above.
        }
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int Trim(nuint kept);

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int SetOption(int option, int value);
}
