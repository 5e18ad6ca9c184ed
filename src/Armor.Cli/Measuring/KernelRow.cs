using System.Text.Json.Nodes;

namespace Armor.Cli.Measuring;

/// <summary>How fast one kernel is.</summary>
/// <param name="Kernel">What it multiplies by: <c>dense</c>, <c>2:4</c> or <c>armor</c>, the last with wrappers.</param>
/// <param name="Type">The type of the weight's values; an int8 layer has wrappers of bfloat16.</param>
/// <param name="Rows">Outputs.</param>
/// <param name="Columns">Inputs.</param>
/// <param name="Batch">Number of inputs in one call.</param>
/// <param name="Threads">Number of threads.</param>
/// <param name="Microseconds">A call, the fastest round's mean.</param>
/// <param name="GigabytesPerSecond">At which the weight is read.</param>
/// <param name="FractionOfBandwidth">The median round's, of what as many threads read from memory shortly before or after it.</param>
internal sealed record KernelRow(
    string Kernel, string Type, int Rows, int Columns, int Batch, int Threads, double Microseconds, double GigabytesPerSecond, double FractionOfBandwidth)
{
    /// <summary>Multiplications and additions a second, as if the weight were dense.</summary>
    internal double DenseGigaflopsPerSecond => 2.0 * Rows * Columns * Batch / Microseconds / 1e3;

    internal JsonObject ToJson() => new()
    {
        ["kernel"] = Kernel,
        ["type"] = Type,
        ["rows"] = Rows,
        ["columns"] = Columns,
        ["batch"] = Batch,
        ["threads"] = Threads,
        ["microseconds"] = Microseconds,
        ["gigabytesPerSecond"] = GigabytesPerSecond,
        ["fractionOfBandwidth"] = FractionOfBandwidth,
    };
}
