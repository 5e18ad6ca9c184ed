using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Demo;
using Armor.Cli.Hosting;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor demo</c>: every method side by side on the embedded model.</summary>
internal static class DemoCommand
{
    private const int Sequences = 128;
    private const int QuickSequences = 32;
    private const string ChartName = "demo.png";
    private const string ReportName = "demo.md";

    internal static Command Create(CommandHost host)
    {
        var quick = new Option<bool>("--quick") { Description = "Fewer methods and sequences." };
        var output = new Option<string>("--out")
        {
            Description = "The folder for the chart and the report.",
            HelpName = "DIR",
            DefaultValueFactory = _ => "armor-demo",
        };
        // For tests and for models other than the embedded one; not part of the tool's promised shape.
        var model = new Option<string>("--model") { Hidden = true };
        var calibration = new Option<string>("--calibration") { Hidden = true };
        var evaluation = new Option<string>("--evaluation") { Hidden = true };
        var command = new Command("demo", "Prunes the embedded model with every method and compares the results.") { quick, output, model, calibration, evaluation };
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            DemoSource source = parsed.GetValue(model) is { } folder
                ? new DemoSource(
                    ModelFolder.Existing(folder),
                    parsed.GetValue(calibration) ?? throw new UsageException("--model needs --calibration and --evaluation."),
                    parsed.GetValue(evaluation) ?? throw new UsageException("--model needs --calibration and --evaluation."))
                : DemoSource.Embedded();
            bool isQuick = parsed.GetValue(quick);
            int sequences = isQuick ? QuickSequences : Sequences;
            string target = parsed.GetRequiredValue(output);
            if (File.Exists(target))
            {
                throw new ToolException($"{target}: expected a folder, found a file.");
            }

            var runner = new DemoRunner(source, isQuick ? DemoMethod.Quick : DemoMethod.All, sequences, sequences);
            DemoResult result = await session.RunAsync("Demo", steps => runner.RunAsync(steps, session.CancellationToken)).ConfigureAwait(false);
            string report = WriteFiles(result, target);
            session.Write(() => ToJson(result), console => Print(console, result, report));
            if (!DemoChart.HasFonts)
            {
                session.Note("armor: this machine has no fonts, so the chart has no words; the report has the numbers.");
            }
        }));
        return command;
    }

    private static string WriteFiles(DemoResult result, string target)
    {
        Directory.CreateDirectory(target);
        string chart = Path.Combine(target, ChartName);
        string temporary = chart + ".partial.png";
        DemoChart.Write(result, temporary);
        File.Move(temporary, chart, overwrite: true);
        string report = Path.Combine(target, ReportName);
        DemoReport.Write(result, report + ".partial", ChartName);
        File.Move(report + ".partial", report, overwrite: true);
        return report;
    }

    private static JsonObject ToJson(DemoResult result) => new()
    {
        ["rows"] = new JsonArray([.. result.Rows.Select(row => (JsonNode)new JsonObject
        {
            ["method"] = row.Method,
            ["storage"] = row.Storage,
            ["perplexity"] = row.Perplexity,
            ["deltaNll"] = row.DeltaNll,
            ["seconds"] = row.Seconds,
        })]),
    };

    private static void Print(IAnsiConsole console, DemoResult result, string report)
    {
        Table table = Tables.OfNumbers("Method", "Storage", "Perplexity", "ΔNLL, nats a token", "Seconds");

        double best = result.Rows.Skip(1).Min(row => row.DeltaNll);
        foreach (DemoRow row in result.Rows)
        {
            string style = row.DeltaNll == best && row.Storage < 1 ? "[bold green]" : "[default]";
            table.AddRow(
                $"{style}{Markup.Escape(row.Method)}[/]",
                Numbers.Invariant($"{row.Storage:0.0000}"),
                Numbers.Invariant($"{style}{row.Perplexity:0.000}[/]"),
                $"{style}{DemoReport.Delta(row)}[/]",
                Numbers.Invariant($"{row.Seconds:0.0}"));
        }

        console.Write(table);
        console.WriteLine(Numbers.Invariant($"{result.CalibrationSequences} calibration and {result.EvaluationSequences} evaluation sequences, ")
            + $"{Numbers.Seconds(result.Seconds)} in all. Report and chart: {report}");
    }
}
