using System.Globalization;

namespace Armor.Benchmarks.Scale;

/// <summary>Reads this process's resident memory from the system every 50 ms; keeps the peak since the last question.</summary>
internal sealed class MemoryWatch : IDisposable
{
    private readonly Timer timer;
    private long peak;
    private long whole;

    public MemoryWatch() => timer = new Timer(_ => Sample(), null, 0, 50);

    /// <summary>The highest resident memory that the kernel saw in this process, in bytes.</summary>
    public static long Highest => Read("VmHWM");

    /// <summary>The peak since this watch began, in bytes.</summary>
    public long Peak => Math.Max(Interlocked.Read(ref peak), Interlocked.Read(ref whole));

    /// <summary>The peak since the last call, in bytes.</summary>
    public long TakePeak()
    {
        Sample();
        long taken = Interlocked.Exchange(ref peak, 0);
        Raise(ref whole, taken);
        return taken;
    }

    public void Dispose() => timer.Dispose();

    private static long Read(string name)
    {
        string line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(name + ":", StringComparison.Ordinal));
        return long.Parse(line[(name.Length + 1)..].Replace("kB", string.Empty, StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) << 10;
    }

    private void Sample() => Raise(ref peak, Read("VmRSS"));

    private static void Raise(ref long peak, long now)
    {
        long seen;
        while (now > (seen = Interlocked.Read(ref peak)) && Interlocked.CompareExchange(ref peak, now, seen) != seen)
        {
        }
    }
}
