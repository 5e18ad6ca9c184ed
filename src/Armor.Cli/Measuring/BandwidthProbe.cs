using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Armor.Cli.Measuring;

/// <summary>
/// Reads a large buffer again and again. On shared machines the bandwidth changes from second to second, so whoever wants to quote a share of it
/// reads between the measurements.
/// </summary>
internal sealed unsafe partial class BandwidthProbe : IDisposable
{
    private const nuint Alignment = 2 << 20;
    private const int VectorBytes = 64;
    private const int AdviseHugePages = 14;

    /// <summary>Several times the largest cache of a processor's part, as far as memory goes.</summary>
    private const long LargestBuffer = 256 << 20;

    private static readonly TimeSpan Age = TimeSpan.FromMilliseconds(50);

    private readonly long share;
    private byte* buffer;
    private long latestAt;

    /// <summary>Allocates the buffer.</summary>
    /// <param name="threads">Number of threads that read at the same time.</param>
    internal BandwidthProbe(int threads)
    {
        Threads = threads;
        long bytes = Math.Min(LargestBuffer, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 8);
        // A share is a whole number of steps: of each of two streams, four vectors.
        share = Math.Max(8 * VectorBytes, bytes / threads / (8 * VectorBytes) * (8 * VectorBytes));
        buffer = (byte*)NativeMemory.AlignedAlloc((nuint)(share * threads), Alignment);
        if (OperatingSystem.IsLinux())
        {
            // The weights lie on large pages too, which are read faster. Only a hint: what it returns changes nothing.
            _ = Advise((nint)buffer, (nuint)(share * threads), AdviseHugePages);
        }

        NativeMemory.Fill(buffer, (nuint)(share * threads), 1);
    }

    /// <summary>Number of threads that read at the same time.</summary>
    internal int Threads { get; }

    /// <summary>The fastest pass so far, 10⁹ bytes a second, all threads together.</summary>
    internal double Best { get; private set; }

    /// <summary>The latest pass.</summary>
    internal double Latest { get; private set; }

    /// <summary>Reads the buffer once.</summary>
    /// <returns>10⁹ bytes a second.</returns>
    internal double Measure()
    {
        ObjectDisposedException.ThrowIf(buffer == null, this);
        Latest = share * Threads / Pass() / 1e9;
        Best = Math.Max(Best, Latest);
        latestAt = Stopwatch.GetTimestamp();
        return Latest;
    }

    /// <summary>The latest pass, or another one where that is long ago.</summary>
    internal double Recent() => Latest > 0 && Stopwatch.GetElapsedTime(latestAt) < Age ? Latest : Measure();

    /// <summary>Frees the buffer.</summary>
    public void Dispose()
    {
        NativeMemory.AlignedFree(buffer);
        buffer = null;
    }

    private double Pass()
    {
        using var ready = new Barrier(Threads);
        var times = new (long Begin, long End)[Threads];
        var sums = new long[Threads];
        Thread[] readers = [.. Enumerable.Range(0, Threads).Select(index => new Thread(() =>
        {
            ready.SignalAndWait();
            long begin = Stopwatch.GetTimestamp();
            sums[index] = Read(buffer + (index * share), share);
            times[index] = (begin, Stopwatch.GetTimestamp());
        }))];
        Array.ForEach(readers, reader => reader.Start());
        Array.ForEach(readers, reader => reader.Join());
        // The sum keeps the reads from being left out.
        return sums.Sum() == 0
            ? throw new InvalidOperationException("What was read is not what was written.")
            : Stopwatch.GetElapsedTime(times.Min(time => time.Begin), times.Max(time => time.End)).TotalSeconds;
    }

    /// <summary>Two streams at once: one alone does not keep enough reads under way on every processor.</summary>
    private static long Read(byte* start, long bytes)
    {
        long half = bytes / 2;
        Vector512<long> a = default, b = default, c = default, d = default;
        for (long offset = 0; offset < half; offset += 4 * VectorBytes)
        {
            byte* first = start + offset;
            byte* second = first + half;
            a += Vector512.Load((long*)first);
            b += Vector512.Load((long*)(first + VectorBytes));
            c += Vector512.Load((long*)(first + (2 * VectorBytes)));
            d += Vector512.Load((long*)(first + (3 * VectorBytes)));
            a += Vector512.Load((long*)second);
            b += Vector512.Load((long*)(second + VectorBytes));
            c += Vector512.Load((long*)(second + (2 * VectorBytes)));
            d += Vector512.Load((long*)(second + (3 * VectorBytes)));
        }

        return Vector512.Sum(a + b + c + d);
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nint address, nuint length, int advice);
}
