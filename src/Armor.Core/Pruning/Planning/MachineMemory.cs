using System.Globalization;

namespace Armor.Core.Pruning.Planning;

/// <summary>The memory of the machine that a run may use.</summary>
internal static class MachineMemory
{
    /// <summary>What is free now, in bytes, within the limit of a container.</summary>
    public static long Available()
    {
        GCMemoryInfo info = GC.GetGCMemoryInfo();
        long limit = info.TotalAvailableMemoryBytes;
        long free = Linux("MemAvailable") ?? (limit - info.MemoryLoadBytes);
        return Math.Max(0, Math.Min(limit, free));
    }

    private static long? Linux(string name)
    {
        const string MemoryInfo = "/proc/meminfo";
        if (!File.Exists(MemoryInfo))
        {
            return null;
        }

        string? line = File.ReadLines(MemoryInfo).FirstOrDefault(line => line.StartsWith(name + ":", StringComparison.Ordinal));
        return line is not null && long.TryParse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture, out long kibibytes)
            ? kibibytes << 10
            : null;
    }
}
