using System.CommandLine;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary><c>armor export</c>: an ARMOR folder written for other engines.</summary>
internal static class ExportCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("ARMOR, or for onnx dense");
        var format = new Option<string>("--format")
        {
            Description = "dense: A·S·B multiplied out, for any engine, without gain in size or speed; sparse24: sparse-24-bitmask, for 2:4 results without wrappers only; onnx: a decoder with key/value cache, held against the model before it is done.",
            HelpName = "dense|sparse24|onnx",
            Required = true,
        };
        format.AcceptOnlyFromAmong("dense", "sparse24", OnnxExportArguments.Format);
        var output = new Option<string>("--out") { Description = "The folder to write; new or empty.", HelpName = "DIR", Required = true };
        var onnx = new OnnxExportArguments();
        var command = new Command("export", "Writes an ARMOR model for other engines.") { model, format, output };
        onnx.AddTo(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            if (parsed.GetRequiredValue(format) == OnnxExportArguments.Format)
            {
                return host.RunNativeAsync(parsed, cancellationToken, session =>
                    onnx.ExportAsync(session, parsed, ModelFolder.Existing(parsed.GetRequiredValue(model)), parsed.GetRequiredValue(output)));
            }

            return host.RunAsync(parsed, cancellationToken, session => ExportAsync(session, parsed));
        });
        return command;

        async Task ExportAsync(CommandSession session, ParseResult parsed)
        {
            onnx.RequireNone(parsed);
            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            string target = parsed.GetRequiredValue(output);
            string kind = parsed.GetRequiredValue(format);
            var watch = Stopwatch.StartNew();
            int linears = await session.RunAsync("Exporting", steps =>
            {
                using ArmorCheckpoint checkpoint = ArmorCheckpoint.Open(folder);
                var progress = new ExportSteps(steps);
                if (kind == "dense")
                {
                    DenseExport.Write(checkpoint, target, elementType: null, progress, session.CancellationToken);
                }
                else
                {
                    Sparse24Export.Write(checkpoint, target, progress, session.CancellationToken);
                }

                return checkpoint.Layers.Count;
            }).ConfigureAwait(false);

            long bytes = Directory.EnumerateFiles(target, "*.safetensors").Sum(file => new FileInfo(file).Length);
            session.Write(
                () => new JsonObject { ["format"] = kind, ["linears"] = linears, ["bytes"] = bytes, ["seconds"] = watch.Elapsed.TotalSeconds },
                console => console.Profile.Out.Writer.WriteLine($"{linears} linears written as {kind} to {target}: {Numbers.Bytes(bytes)} of weights."));
        }
    }
}
