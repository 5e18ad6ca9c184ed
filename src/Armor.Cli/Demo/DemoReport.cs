using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Armor.Cli.Commands;

namespace Armor.Cli.Demo;

/// <summary>Writes the demo's Markdown report.</summary>
internal static class DemoReport
{
    internal static void Write(DemoResult result, string path, string chart)
    {
        var text = new StringBuilder();
        text.AppendLine("# ARMOR beside other 2:4 methods").AppendLine();
        text.AppendLine(CultureInfo.InvariantCulture, $"The model `{Path.GetFileName(Path.TrimEndingDirectorySeparator(result.Source.Model))}`, pruned by each method on {result.CalibrationSequences} calibration sequences, then read back from its files and measured on {result.EvaluationSequences} other sequences ({result.Predictions:N0} predicted tokens).").AppendLine();
        text.AppendLine($"![What each method lost]({chart})").AppendLine();
        text.AppendLine("| method | storage | perplexity | ΔNLL | seconds |");
        text.AppendLine("| --- | ---: | ---: | ---: | ---: |");
        foreach (DemoRow row in result.Rows)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"| {row.Method} | {row.Storage:0.0000} | {row.Perplexity:0.000} | {Delta(row)} | {row.Seconds:0.0} |");
        }

        text.AppendLine().AppendLine("- **storage**: bytes of the pruned linears on disk (kept values, mask, wrappers) as a share of their dense bfloat16 size; plain 2:4 is 0.5625.");
        text.AppendLine("- **ΔNLL**: negative log-likelihood per token above the dense model's, in nats, with the standard error of the paired difference. On text that the dense model wrote itself it estimates KL(dense‖pruned).");
        text.AppendLine("- **seconds**: wall time of the pruning, calibration included.");
        text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"{RuntimeInformation.OSDescription.Trim()}, {Environment.ProcessorCount} processors, {RuntimeInformation.FrameworkDescription}; {Numbers.Seconds(result.Seconds)} in all.");
        File.WriteAllText(path, text.ToString().ReplaceLineEndings("\n"));
    }

    /// <summary>ΔNLL with its standard error.</summary>
    internal static string Delta(DemoRow row) => row.Storage >= 1
        ? "0"
        : Numbers.Invariant($"{row.DeltaNll:0.0000}") + (row.StandardError is { } deviation ? Numbers.Invariant($" ± {deviation:0.0000}") : string.Empty);
}
