using System.Runtime.InteropServices;

namespace Armor.Cli.Natives;

/// <summary>The C library's heap, in which libtorch's tensors live.</summary>
internal static partial class NativeHeap
{
    private const int MmapThreshold = -3;
    private const int LargeBytes = 1 << 20;

    /// <summary>
    /// Makes glibc give freed blocks of a megabyte and more back to the system at once, instead of keeping ever larger ones in its heap: that takes two
    /// fifths off a large model's peak, and some time. Without effect elsewhere.
    /// </summary>
    public static void GiveBackLargeBlocks()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = SetOption(MmapThreshold, LargeBytes);
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            // Another C library: it has its own ways.
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int SetOption(int option, int value);
}
