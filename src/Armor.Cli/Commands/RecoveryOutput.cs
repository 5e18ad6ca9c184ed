using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Recovery;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary>What recovery came to, in print and as JSON.</summary>
internal static class RecoveryOutput
{
    internal static JsonObject ToJson(RecoveryReport report) => new()
    {
        ["phases"] = new JsonArray([.. report.Phases.Select(phase => (JsonNode)new JsonObject
        {
            ["phase"] = Name(phase.Phase),
            ["klBefore"] = phase.KlBefore,
            ["klAfter"] = phase.KlAfter,
            ["steps"] = phase.Steps,
            ["stop"] = Reason(phase.Stop),
            ["seconds"] = phase.Seconds,
        })]),
        ["klBefore"] = report.KlBefore,
        ["klAfter"] = report.KlAfter,
        ["trainingSequences"] = report.TrainingSequences,
        ["heldOutSequences"] = report.HeldOutSequences,
        ["parameters"] = report.Parameters,
        ["notes"] = new JsonArray([.. report.Notes.Select(note => (JsonNode)note)]),
        ["seconds"] = report.Seconds,
    };

    internal static void Print(IAnsiConsole console, RecoveryReport report)
    {
        Table table = Tables.OfNumbers("Phase", "Held-out KL before", "after", "Steps", "Ended", "Time");
        foreach (RecoveryPhaseReport phase in report.Phases)
        {
            table.AddRow(
                Name(phase.Phase),
                Numbers.Invariant($"{phase.KlBefore:0.0000}"),
                Numbers.Invariant($"{phase.KlAfter:0.0000}"),
                Numbers.Invariant($"{phase.Steps:N0}"),
                Reason(phase.Stop),
                Numbers.Seconds(phase.Seconds));
        }

        console.Write(table);
        foreach (string note in report.Notes)
        {
            console.MarkupLineInterpolated($"[yellow]{note}[/]");
        }

        console.WriteLine(Numbers.Invariant($"{report.Parameters:N0} parameters on {report.TrainingSequences:N0} sequences in {Numbers.Seconds(report.Seconds)}; ")
            + Numbers.Invariant($"KL in nats a token on {report.HeldOutSequences:N0} others."));
    }

    internal static string Name(RecoveryPhase phase) => phase == RecoveryPhase.Layerwise ? "layer-wise" : "end to end";

    private static string Reason(RecoveryStop stop) => stop switch
    {
        RecoveryStop.Finished => "all steps made",
        RecoveryStop.EarlyStop => "no better any more",
        RecoveryStop.Diverged => "diverged",
        _ => "dropped, the KL rose",
    };
}
