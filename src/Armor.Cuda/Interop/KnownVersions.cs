namespace Armor.Cuda.Interop;

/// <summary>What is known to be wrong with versions of what NVIDIA ships.</summary>
internal static class KnownVersions
{
    /// <summary>The driver that first records kernels that begin early; before, kernels follow each other.</summary>
    public static readonly Version EarlyBegin = new(12, 3);

    private static readonly Version OldestDriver = new(11, 2);
    private static readonly Version OrderedMetadata = new(12, 5);

    /// <param name="version">The newest CUDA that the driver runs; null where it was not told.</param>
    public static string? WarningOfDriver(Version? version) => version < OldestDriver ? $"older than {OldestDriver}, the oldest that we know" : null;

    /// <param name="compiler">NVRTC's version.</param>
    /// <param name="driver">The newest CUDA that the driver runs.</param>
    /// <param name="capability">Of the card, times ten.</param>
    public static string? WarningOfCompiler(Version compiler, Version driver, int capability)
        => compiler.Major > driver.Major ? $"newer than the driver, which runs CUDA {driver}: kernels may not load"
            : compiler < OrderedMetadata && capability >= 90
                ? $"before {OrderedMetadata} 2:4 products are compiled to an instruction (mma.sp) of which the PTX manual says that it may be slow on newer cards"
            : null;
}
