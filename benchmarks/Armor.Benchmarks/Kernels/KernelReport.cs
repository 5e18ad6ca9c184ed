namespace Armor.Benchmarks.Kernels;

/// <summary>What was measured with one batch and number of threads, as rows of Markdown.</summary>
/// <param name="rounds">The times.</param>
/// <param name="contestants">Whose.</param>
/// <param name="weight">What they multiplied by.</param>
/// <param name="threads">With how many threads.</param>
/// <param name="bestBandwidth">The most that was read in the run so far with as many threads, 10⁹ bytes a second.</param>
internal sealed class KernelReport(
    KernelRounds rounds, IReadOnlyDictionary<ContestantKind, Contestant> contestants, KernelCase weight, int threads, double bestBandwidth)
{
    private const double FastGigaflops = 150;

    /// <summary>Begins the table.</summary>
    public static void Header()
    {
        Console.WriteLine(
            "| kernel | type | batch | threads | µs, least | median | GB/s | of the bandwidth beside it | of the best read | GFLOP/s, dense-equivalent | " +
            "× TorchSharp float32 | × TorchSharp bfloat16 |");
        Console.WriteLine("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    }

    /// <summary>Begins the table of aims.</summary>
    public static void AimsHeader()
    {
        Console.WriteLine("| batch | threads | aim | wanted | median of the rounds | | by the shortest times |");
        Console.WriteLine("| ---: | ---: | --- | ---: | ---: | --- | ---: |");
    }

    /// <summary>A row for each contestant.</summary>
    public void Rows()
    {
        foreach (ContestantKind kind in contestants.Keys)
        {
            double least = rounds.Least(kind);
            Console.WriteLine(
                $"| {kind.Kernel} | {kind.Type} | {rounds.Batch} | {threads} | {least:f0} | {rounds.Median(kind):f0} | {Rate(kind):f1} | " +
                $"{rounds.FractionOfBandwidth(kind):p0} | {Rate(kind) / bestBandwidth:p0} | {Gigaflops(least):f1} | " +
                $"{rounds.Ratio(ContestantKind.TorchSingle, kind):f2} | {rounds.Ratio(ContestantKind.TorchBFloat, kind):f2} |");
        }

        Console.Error.WriteLine($"Batch {rounds.Batch}, {threads} thread(s): {rounds.Count} rounds; memory read at {bestBandwidth:f1} GB/s at best.");
    }

    /// <summary>A row for each aim that this batch can show.</summary>
    public void Aims()
    {
        switch (rounds.Batch)
        {
            case 1:
                Share(ContestantKind.CoreSingle);
                Share(ContestantKind.CoreBFloat);
                Share(ContestantKind.DenseInt8);
                Faster(ContestantKind.CoreSingle, ContestantKind.TorchSingle, 2.3);
                Faster(ContestantKind.CoreBFloat, ContestantKind.TorchSingle, 4.4);
                Faster(ContestantKind.CoreBFloat, ContestantKind.TorchBFloat, 4.4);
                Faster(ContestantKind.CoreInt8, ContestantKind.CoreBFloat, 1.4);
                Over(ContestantKind.LayerSingle, ContestantKind.CoreSingle);
                Over(ContestantKind.LayerBFloat, ContestantKind.CoreBFloat);
                Over(ContestantKind.LayerInt8, ContestantKind.CoreInt8);
                Over(ContestantKind.LayerBFloatInt8Wrappers, ContestantKind.CoreBFloat);
                Over(ContestantKind.LayerInt8Int8Wrappers, ContestantKind.CoreInt8);
                break;
            case >= 16:
                Fast(ContestantKind.CoreSingle);
                Fast(ContestantKind.CoreBFloat);
                Fast(ContestantKind.CoreInt8);
                Faster(ContestantKind.CoreInt8, ContestantKind.TorchBFloat, 1);
                break;
        }
    }

    private void Share(ContestantKind kind)
    {
        if (rounds.Has(kind))
        {
            double fraction = rounds.FractionOfBandwidth(kind);
            Aim($"{kind.Name}: of the bandwidth", "90 %", $"{fraction:p0}", fraction >= 0.9, $"{Rate(kind) / bestBandwidth:p0}");
        }
    }

    private void Faster(ContestantKind kind, ContestantKind other, double wanted)
    {
        if (rounds.Ratio(other, kind) is { } ratio)
        {
            Aim($"{kind.Name} against {other.Name}", $"{wanted:f1} ×", $"{ratio:f2} ×", ratio >= wanted, $"{rounds.Least(other) / rounds.Least(kind):f2} ×");
        }
    }

    private void Over(ContestantKind layer, ContestantKind core)
    {
        if (rounds.Ratio(layer, core) is { } ratio)
        {
            Aim($"{layer.Name} over its core", "12 %", $"{ratio - 1:p0}", ratio <= 1.12, $"{(rounds.Least(layer) / rounds.Least(core)) - 1:p0}");
        }
    }

    private void Fast(ContestantKind kind)
    {
        if (rounds.Has(kind))
        {
            double median = Gigaflops(rounds.Median(kind)) / threads;
            Aim($"{kind.Name}: GFLOP/s a thread", $"{FastGigaflops:f0}", $"{median:f0}", median >= FastGigaflops, $"{Gigaflops(rounds.Least(kind)) / threads:f0}");
        }
    }

    /// <summary>At which the weight is read in the shortest turn, 10⁹ bytes a second.</summary>
    private double Rate(ContestantKind kind) => contestants[kind].Bytes / rounds.Least(kind) / 1e3;

    private double Gigaflops(double microseconds) => 2.0 * weight.Rows * weight.Columns * rounds.Batch / microseconds / 1e3;

    private void Aim(string aim, string wanted, string measured, bool isReached, string shortest) =>
        Console.WriteLine($"| {rounds.Batch} | {threads} | {aim} | {wanted} | {measured} | {(isReached ? "reached" : "missed")} | {shortest} |");
}
