using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Armor.Cli.Measuring;

/// <summary>How fast the machine reads from its memory.</summary>
/// <param name="Threads">Number of threads that read at the same time.</param>
/// <param name="GigabytesPerSecond">What all of them read together, 10⁹ bytes a second.</param>
internal sealed unsafe record MemoryBandwidth(int Threads, double GigabytesPerSecond)
{
    private const nuint Alignment = 2 << 20;
    private const int VectorBytes = 64;
    private const int FewestPasses = 3;

    /// <summary>Several times the largest cache of a processor's part, as far as memory goes.</summary>
    private const long LargestBuffer = 256 << 20;

    /// <summary>Measures; takes as long as told and a little more.</summary>
    /// <param name="threads">Number of threads.</param>
    /// <param name="seconds">How long passes are repeated; the fastest counts.</param>
    /// <param name="cancellationToken">Checked between passes.</param>
    internal static MemoryBandwidth Measure(int threads, double seconds, CancellationToken cancellationToken)
    {
        long bytes = Math.Min(LargestBuffer, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 8);
        // A share is a whole number of steps: of each of two streams, four vectors.
        long share = Math.Max(8 * VectorBytes, bytes / threads / (8 * VectorBytes) * (8 * VectorBytes));
        bytes = share * threads;
        var buffer = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, Alignment);
        try
        {
            NativeMemory.Fill(buffer, (nuint)bytes, 1);
            double best = double.PositiveInfinity;
            long begin = Stopwatch.GetTimestamp();
            for (int passes = 0; passes < FewestPasses || Stopwatch.GetElapsedTime(begin).TotalSeconds < seconds; passes++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                best = Math.Min(best, Pass(buffer, share, threads));
            }

            return new MemoryBandwidth(threads, bytes / best / 1e9);
        }
        finally
        {
            NativeMemory.AlignedFree(buffer);
        }
    }

    private static double Pass(byte* buffer, long share, int threads)
    {
        using var ready = new Barrier(threads);
        var times = new (long Begin, long End)[threads];
        var sums = new long[threads];
        Thread[] readers = [.. Enumerable.Range(0, threads).Select(index => new Thread(() =>
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
}
