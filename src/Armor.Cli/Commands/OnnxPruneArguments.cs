using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Pruning;
using Armor.Onnx;
using Armor.Onnx.Calibration;
using Armor.Onnx.Pruning;
using Armor.Onnx.Running;
using Microsoft.ML.OnnxRuntime;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary>What <c>armor prune MODEL.onnx</c> takes besides, and does.</summary>
internal sealed class OnnxPruneArguments
{
    private static readonly Dictionary<string, OnnxExecutionProvider> Providers = new(StringComparer.Ordinal)
    {
        ["cpu"] = OnnxExecutionProvider.Cpu,
        ["cuda"] = OnnxExecutionProvider.Cuda,
        ["tensorrt"] = OnnxExecutionProvider.TensorRt,
    };

    private readonly Option<string?> tokenizer = new("--tokenizer")
    {
        Description = "ONNX: the folder of tokenizer.json, for calibration by text (default: the model's folder).",
        HelpName = "DIR",
    };

    private readonly Option<bool> heads = new("--heads") { Description = "ONNX: prune heads too, weights whose product is an output of the model." };
    private readonly Option<bool> sparseInitializer = new("--sparse-initializer")
    {
        Description = "ONNX: store cores as sparse_initializer, with the place of every kept value; larger than with the zeros.",
    };

    private readonly Option<bool> externalData = new("--external-data") { Description = "ONNX: store weights in a file beside the output, as where the source has one and beyond 1.9 GB." };
    private readonly Option<string?> provider = new("--provider")
    {
        Description = "ONNX: where ONNX Runtime runs the model for calibration (default cpu).",
        HelpName = string.Join('|', Providers.Keys),
    };

    private Option[] All => [tokenizer, heads, sparseInitializer, externalData, provider];

    /// <summary>Whether a path is that of an ONNX file.</summary>
    internal static bool IsOnnx(string path) => path.EndsWith(".onnx", StringComparison.OrdinalIgnoreCase) && !Directory.Exists(path);

    internal void AddTo(Command command)
    {
        provider.AcceptOnlyFromAmong([.. Providers.Keys]);
        foreach (Option option in All)
        {
            command.Add(option);
        }
    }

    /// <summary>Refuses options that have no meaning for the kind of model.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="isOnnx">The kind.</param>
    /// <param name="others">Options of checkpoints.</param>
    /// <exception cref="UsageException">One is given.</exception>
    internal void Check(ParseResult parsed, bool isOnnx, params Option[] others)
    {
        Option? given = (isOnnx ? others : All).FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false });
        if (given is not null)
        {
            throw new UsageException(isOnnx ? $"{given.Name} is for checkpoints, not for ONNX models." : $"{given.Name} is for ONNX models.");
        }
    }

    /// <summary>Prunes.</summary>
    /// <param name="session">The run.</param>
    /// <param name="parsed">The command line.</param>
    /// <param name="model">The ONNX file.</param>
    /// <param name="target">The file to write.</param>
    /// <param name="calibration">A text, an .npz or .npy, or a folder of such.</param>
    /// <param name="documents">How a text becomes documents.</param>
    /// <param name="options">What checkpoints and ONNX models have in common.</param>
    internal async Task PruneAsync(
        CommandSession session, ParseResult parsed, string model, string target, string calibration, TextOptions documents, ModelPrunerOptions options)
    {
        if (!File.Exists(model))
        {
            throw new ToolException($"{model}: the ONNX file does not exist.");
        }

        IEnumerable<IReadOnlyCollection<NamedOnnxValue>> inputs = Inputs(parsed, model, calibration, documents, options.MaxSamples);
        var onnxOptions = new OnnxPrunerOptions
        {
            Pruner = options.Pruner,
            Calibration = options.Calibration,
            MemoryBudget = options.MemoryBudget ?? OnnxPrunerOptions.DefaultMemoryBudget,
            PruneHeads = parsed.GetValue(heads),
            CoreFormat = parsed.GetValue(sparseInitializer) ? SparseCoreFormat.SparseInitializer : SparseCoreFormat.Dense,
            ExternalData = parsed.GetValue(externalData) ? true : null,
            Runtime = new OnnxRuntimeOptions { Provider = Providers[parsed.GetValue(provider) ?? "cpu"] },
        };
        OnnxPruningReport report = await session.RunAsync(
            "Pruning",
            steps => OnnxPruner.PruneAsync(model, target, inputs, onnxOptions, new PruningSteps(steps), session.CancellationToken)).ConfigureAwait(false);
        foreach (SkippedNode node in report.Skipped)
        {
            session.Note($"armor: {node.Operation} '{node.Node}' is left as it is: {node.Reason}.");
        }

        session.Write(() => ToJson(report), console => Print(console, report, target));
    }

    private IEnumerable<IReadOnlyCollection<NamedOnnxValue>> Inputs(ParseResult parsed, string model, string calibration, TextOptions documents, int samples)
    {
        string[] files = Directory.Exists(calibration)
            ? [.. Directory.EnumerateFiles(calibration).Where(IsNumPy).Order(StringComparer.Ordinal)]
            : IsNumPy(calibration) ? [calibration] : [];
        if (files.Length > 0)
        {
            return OnnxCalibration.FromNumPy(model, [.. files.Take(samples)]);
        }

        if (Directory.Exists(calibration))
        {
            throw new ToolException($"{calibration}: expected .npz or .npy files in the folder, found none.");
        }

        string folder = parsed.GetValue(tokenizer) ?? Path.GetDirectoryName(Path.GetFullPath(model))!;
        return OnnxCalibration.FromTexts(model, folder, documents.ReadDocuments(parsed, calibration).Take(samples));
    }

    private static bool IsNumPy(string path) => Path.GetExtension(path).ToLowerInvariant() is ".npz" or ".npy";

    private static JsonObject ToJson(OnnxPruningReport report) =>
        PruningOutput.ToJson(report.Linears.Select(PruningLine.Of), report.Bytes, report.DenseBytes, report.Seconds);

    private static void Print(IAnsiConsole console, OnnxPruningReport report, string target)
    {
        PruningOutput.Print(console, [.. report.Linears.Select(PruningLine.Of)]);
        console.WriteLine(
            $"{report.Linears.Count} weights in {Numbers.Seconds(report.Seconds)}, {report.Skipped.Count} products left as they are. The file holds cores with their zeros: "
            + $"{Numbers.Bytes(report.Bytes)} instead of {Numbers.Bytes(report.DenseBytes)}.");
        console.WriteLine($"Written to {target}");
    }
}
