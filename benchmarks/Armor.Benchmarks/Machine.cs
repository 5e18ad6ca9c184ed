using System.Runtime.InteropServices;
using TorchSharp;

namespace Armor.Benchmarks;

/// <summary>The line that every table begins with.</summary>
internal static class Machine
{
    /// <summary>Date, processor, threads and versions.</summary>
    public static string Describe(int threads) =>
        $"{DateTime.UtcNow:yyyy-MM-dd}, {Processor()}, {(threads == 1 ? "1 thread" : $"{threads} threads")}, " +
        $"{RuntimeInformation.FrameworkDescription}, libtorch {torch.__version__}";

    private static string Processor()
    {
        const string CpuInfo = "/proc/cpuinfo";
        string? model = File.Exists(CpuInfo) ? File.ReadLines(CpuInfo).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal)) : null;
        return model?[(model.IndexOf(':') + 2)..] ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
