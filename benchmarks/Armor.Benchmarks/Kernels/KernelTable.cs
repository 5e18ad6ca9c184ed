using System.Diagnostics;
using Armor.Cli.Measuring;

namespace Armor.Benchmarks.Kernels;

/// <summary>Our kernels beside other libraries', in one process and a few minutes: a Markdown table, and how far the aims are reached.</summary>
internal static class KernelTable
{
    private const int WarmUpSize = 256;
    private const double WarmUpSeconds = 0.6;

    /// <summary>Prints the tables, rows as soon as they are measured.</summary>
    /// <param name="arguments">
    /// <c>NAME=VALUE</c>: <c>shape</c> (rows x columns), <c>batches</c>, <c>threads</c> (measured beside one), <c>seconds</c> (for each batch and number
    /// of threads), <c>only</c> (parts of names).
    /// </param>
    public static int Run(string[] arguments)
    {
        var options = new Dictionary<string, string>
        {
            ["shape"] = "4096x4096", ["batches"] = "1,4,16,64,512", ["threads"] = $"{Environment.ProcessorCount}", ["seconds"] = "25", ["only"] = string.Empty,
        };
        foreach (string[] argument in arguments.Select(argument => argument.Split('=', 2)))
        {
            if (argument.Length != 2 || !options.ContainsKey(argument[0]))
            {
                Console.Error.WriteLine($"kernels {string.Join(' ', options.Select(option => $"[{option.Key}={option.Value}]"))}");
                return 2;
            }

            options[argument[0]] = argument[1];
        }

        int[] shape = [.. options["shape"].Split('x').Select(int.Parse)];
        int[] batches = [.. options["batches"].Split(',').Select(int.Parse)];
        int threads = int.Parse(options["threads"]);
        double seconds = double.Parse(options["seconds"]);
        string[] only = options["only"].Split(',', StringSplitOptions.RemoveEmptyEntries);
        ContestantKind[] kinds =
            [.. ContestantKind.All.Where(kind => only.Length == 0 || only.Any(text => kind.Name.Contains(text, StringComparison.OrdinalIgnoreCase)))];

        Console.WriteLine($"{shape[0]} × {shape[1]}, blocks of 128, copies of a weight of more than 512 MB together. {Machine.Describe(threads)}");
        Console.WriteLine();
        KernelReport.Header();
        var weight = new KernelCase(shape[0], shape[1]);
        List<KernelReport> reports = [];
        foreach (int count in new[] { 1, threads }.Distinct())
        {
            WarmUp(kinds, count, batches);
            long begin = Stopwatch.GetTimestamp();
            Dictionary<ContestantKind, Contestant> contestants = ContestantKind.MakeAll(kinds, weight, count);
            Console.Error.WriteLine($"{count} thread(s): {kinds.Length} contestants compute the same; {Stopwatch.GetElapsedTime(begin).TotalSeconds:f0} s.");
            using var probe = new BandwidthProbe(count);
            foreach (int batch in batches)
            {
                float[] input = weight.Values((long)batch * shape[1]);
                var report = new KernelReport(KernelRounds.Measure(contestants, input, batch, probe, seconds), contestants, weight, count, probe.Best);
                report.Rows();
                reports.Add(report);
            }

            foreach (Contestant contestant in contestants.Values)
            {
                contestant.Dispose();
            }

            GC.Collect();
        }

        Console.WriteLine();
        KernelReport.AimsHeader();
        reports.ForEach(report => report.Aims());
        return 0;
    }

    /// <summary>The run-time compiles what has run for a while once more, and better: everybody multiplies by a small weight first.</summary>
    private static void WarmUp(IEnumerable<ContestantKind> kinds, int threads, int[] batches)
    {
        var weight = new KernelCase(WarmUpSize, WarmUpSize, rotatedBytes: 0);
        foreach (ContestantKind kind in kinds)
        {
            using Contestant contestant = kind.Make(weight, threads);
            foreach (int batch in batches)
            {
                contestant.Begin(weight.Values((long)batch * WarmUpSize), batch);
                for (long begin = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begin).TotalSeconds < WarmUpSeconds / batches.Length;)
                {
                    contestant.Multiply(0);
                }
            }
        }
    }
}
