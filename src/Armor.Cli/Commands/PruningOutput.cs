using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Pruning;
using Armor.Onnx.Pruning;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary>A pruned weight as the tool shows it, of a checkpoint or of an ONNX file.</summary>
internal sealed record PruningLine(
    string Name, int Rows, int Columns, int OutputBlock, int InputBlock, double StartLoss, double Loss, double Seconds, IReadOnlyList<string> Notes)
{
    internal static PruningLine Of(LinearPruningReport linear) => new(
        linear.Name, linear.Rows, linear.Columns, linear.OutputBlock, linear.InputBlock, linear.StartLoss, linear.Loss, linear.Seconds, linear.Notes);

    internal static PruningLine Of(OnnxLinearReport linear) => new(
        linear.Name, linear.Rows, linear.Columns, linear.OutputBlock, linear.InputBlock, linear.StartLoss, linear.Loss, linear.Seconds, linear.Notes);
}

/// <summary>Shows what pruning came to.</summary>
internal static class PruningOutput
{
    internal static JsonObject ToJson(IEnumerable<PruningLine> lines, long bytes, long denseBytes, double seconds) => new()
    {
        ["layers"] = new JsonArray([.. lines.Select(line => (JsonNode)new JsonObject
        {
            ["name"] = line.Name,
            ["rows"] = line.Rows,
            ["columns"] = line.Columns,
            ["outputBlock"] = line.OutputBlock,
            ["inputBlock"] = line.InputBlock,
            ["loss"] = line.Loss,
            ["startLoss"] = line.StartLoss,
            ["seconds"] = line.Seconds,
            ["notes"] = new JsonArray([.. line.Notes.Select(note => (JsonNode)note)]),
        })]),
        ["bytes"] = bytes,
        ["denseBytes"] = denseBytes,
        ["seconds"] = seconds,
    };

    /// <summary>The weights in a table, and their notes below.</summary>
    internal static void Print(IAnsiConsole console, IReadOnlyList<PruningLine> lines)
    {
        Table table = Tables.OfNumbers("Linear", "Weights", "Blocks", "Start loss", "Loss", "Time");
        foreach (PruningLine line in lines)
        {
            table.AddRow(
                Markup.Escape(line.Name),
                Numbers.Invariant($"{line.Rows} × {line.Columns}"),
                Numbers.Invariant($"{line.OutputBlock}, {line.InputBlock}"),
                Numbers.Invariant($"{line.StartLoss:0.00000}"),
                Numbers.Invariant($"{line.Loss:0.00000}"),
                Numbers.Seconds(line.Seconds));
        }

        console.Write(table);
        foreach (PruningLine line in lines)
        {
            foreach (string note in line.Notes)
            {
                console.MarkupLineInterpolated($"[yellow]{line.Name}: {note}[/]");
            }
        }
    }
}
