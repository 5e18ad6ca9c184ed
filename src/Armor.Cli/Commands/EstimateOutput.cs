using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Pruning;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary>What <c>armor prune --dry-run</c> shows.</summary>
internal static class EstimateOutput
{
    internal static JsonObject ToJson(PruningEstimate estimate) => new()
    {
        ["seconds"] = estimate.Seconds,
        ["calibrationSeconds"] = estimate.CalibrationSeconds,
        ["pruningSeconds"] = estimate.PruningSeconds,
        ["fileSeconds"] = estimate.FileSeconds,
        ["peakMemory"] = estimate.PeakMemory,
        ["workBytes"] = estimate.WorkBytes,
        ["outputBytes"] = estimate.OutputBytes,
        ["freeBytes"] = estimate.FreeBytes,
        ["tokensPerBatch"] = estimate.TokensPerBatch,
    };

    internal static void Print(IAnsiConsole console, PruningEstimate estimate)
    {
        Table table = Tables.OfNumbers("Pruning will take", "about");
        table.AddRow("Time", Numbers.Seconds(estimate.Seconds));
        table.AddRow("  calibration", Numbers.Seconds(estimate.CalibrationSeconds));
        table.AddRow("  pruning", Numbers.Seconds(estimate.PruningSeconds));
        table.AddRow("  files", Numbers.Seconds(estimate.FileSeconds));
        table.AddRow("Memory at its peak", Numbers.Bytes(estimate.PeakMemory));
        table.AddRow("Disk while it runs", Numbers.Bytes(estimate.WorkBytes));
        table.AddRow("Disk free now", Numbers.Bytes(estimate.FreeBytes));
        table.AddRow("Output", Numbers.Bytes(estimate.OutputBytes));
        console.Write(table);
        if (estimate.FreeBytes < estimate.WorkBytes)
        {
            console.MarkupLine("[yellow]There is not enough room on the disk.[/]");
        }
    }
}
