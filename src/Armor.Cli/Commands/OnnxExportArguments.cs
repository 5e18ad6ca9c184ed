using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Onnx;
using Armor.Onnx.Export;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary>What <c>armor export --format onnx</c> takes besides, and does.</summary>
internal sealed class OnnxExportArguments
{
    internal const string Format = "onnx";

    private static readonly Dictionary<string, TensorElementType> StorageTypes = new(StringComparer.Ordinal)
    {
        ["float32"] = TensorElementType.Float32,
        ["float16"] = TensorElementType.Float16,
        ["bfloat16"] = TensorElementType.BFloat16,
    };

    private readonly Option<string?> storage = new("--storage")
    {
        Description = "onnx: the type that weights are stored in; the graph computes in float32 (default float32).",
        HelpName = string.Join('|', StorageTypes.Keys),
    };

    private readonly Option<bool> sparseInitializer = new("--sparse-initializer")
    {
        Description = "onnx: store cores as sparse_initializer, with the place of every kept value; larger than with the zeros.",
    };

    private readonly Option<bool> externalData = new("--external-data") { Description = "onnx: store weights in model.onnx.data beside the model, as beyond 1.9 GB." };
    private readonly Option<bool> noVerify = new("--no-verify") { Description = "onnx: do not hold the logits against the model in TorchSharp." };

    internal void AddTo(Command command)
    {
        storage.AcceptOnlyFromAmong([.. StorageTypes.Keys]);
        foreach (Option option in (Option[])[storage, sparseInitializer, externalData, noVerify])
        {
            command.Add(option);
        }
    }

    /// <summary>Refuses these options where the format is another.</summary>
    /// <exception cref="UsageException">One is given.</exception>
    internal void RequireNone(ParseResult parsed)
    {
        if (((Option[])[storage, sparseInitializer, externalData, noVerify]).FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } given)
        {
            throw new UsageException($"{given.Name} is for --format {Format}.");
        }
    }

    internal async Task ExportAsync(CommandSession session, ParseResult parsed, string folder, string target)
    {
        var options = new OnnxExportOptions
        {
            Storage = StorageTypes[parsed.GetValue(storage) ?? "float32"],
            CoreFormat = parsed.GetValue(sparseInitializer) ? SparseCoreFormat.SparseInitializer : SparseCoreFormat.Dense,
            ExternalData = parsed.GetValue(externalData),
            Verify = !parsed.GetValue(noVerify),
        };
        OnnxExportReport report = await session.RunAsync(
            "Exporting", steps => OnnxExporter.ExportAsync(folder, target, options, new ExportSteps(steps), session.CancellationToken)).ConfigureAwait(false);
        session.Write(
            () => ToJson(report),
            console => console.Profile.Out.Writer.WriteLine(
                $"{report.Linears} linears written as onnx to {target}: {Numbers.Bytes(report.Bytes)}. " + (report.Verification is { } verification
                    ? string.Create(CultureInfo.InvariantCulture, $"Logits differ from the checkpoint's by {verification.Largest:0.0e+0} at most.")
                    : "Not verified.")));
    }

    private static JsonObject ToJson(OnnxExportReport report)
    {
        var json = new JsonObject { ["format"] = Format, ["linears"] = report.Linears, ["bytes"] = report.Bytes, ["seconds"] = report.Seconds };
        if (report.Verification is { } verification)
        {
            json["prefillDifference"] = verification.Prefill;
            json["decodeDifference"] = verification.Decode;
        }

        return json;
    }
}
