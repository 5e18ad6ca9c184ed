using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Onnx.Export;

/// <summary>
/// Writes a checkpoint, dense or ARMOR, as a folder with a decoder ONNX: <c>model.onnx</c> in the layout of Optimum and ONNX Runtime GenAI, with
/// <c>genai_config.json</c>, <c>config.json</c> and the tokenizer's files. Standard operators only, opset 17. A pruned linear is A·S·B as nodes.
/// </summary>
public static class OnnxExporter
{
    /// <summary>The name of the model's file.</summary>
    public const string ModelFileName = "model.onnx";

    private static readonly string[] Companions = ["tokenizer", "special_tokens_map", "added_tokens", "generation_config", "chat_template", "vocab", "merges", "LICENSE"];

    /// <summary>Exports a checkpoint.</summary>
    /// <param name="folder">The checkpoint, dense or ARMOR, of a family without experts and LongRoPE.</param>
    /// <param name="output">The folder to write; missing or empty. It appears whole or not at all.</param>
    /// <param name="options">How; the default options where null.</param>
    /// <param name="progress">Told of every layer.</param>
    /// <param name="cancellationToken">Stops the work; nothing is left of it.</param>
    /// <exception cref="ArgumentException">An option is out of range; lists every violation.</exception>
    /// <exception cref="CheckpointException">The checkpoint is damaged.</exception>
    /// <exception cref="OnnxException">
    /// The family is not supported, a weight exceeds the storage type, the output exists, or the logits are beyond the tolerance.
    /// </exception>
    public static Task<OnnxExportReport> ExportAsync(
        string folder,
        string output,
        OnnxExportOptions? options = null,
        IProgress<ExportProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentException.ThrowIfNullOrEmpty(output);
        options ??= new OnnxExportOptions();
        options.Validate();
        return Task.Run(() => Export(folder, output, options, progress, cancellationToken), cancellationToken);
    }

    private static OnnxExportReport Export(
        string folder, string output, OnnxExportOptions options, IProgress<ExportProgress>? progress, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        using ArmorCheckpoint? armor = ArmorCheckpoint.IsArmor(folder) ? ArmorCheckpoint.Open(folder) : null;
        using CheckpointFolder? dense = armor is null ? CheckpointFolder.Open(folder) : null;
        CheckpointFolder checkpoint = armor?.Base ?? dense!;
        DecoderGraph.RequireSupported(checkpoint);
        if (armor is null)
        {
            CheckpointVerification.Verify(checkpoint);
        }
        else
        {
            CheckpointVerification.Verify(armor);
        }

        using OnnxOutput target = OnnxOutput.Folder(output);
        string path = Path.Combine(target.TemporaryPath, ModelFileName);
        ModelProto model = WriteModel(path, checkpoint, armor, options, progress, cancellationToken);
        OnnxModelWriter.Guard(output, () => WriteCompanions(folder, target.TemporaryPath, checkpoint.Configuration));
        OnnxVerification? verification = options.Verify
            ? OnnxVerifier.Compare(path, folder, null, options.Storage, options.Runtime, cancellationToken)
            : null;
        if (verification is not null && verification.Largest > options.Tolerance)
        {
            throw new OnnxException(
                output,
                "the exported model's logits are not those of the checkpoint",
                null,
                string.Create(CultureInfo.InvariantCulture, $"differences of at most {options.Tolerance}"),
                string.Create(CultureInfo.InvariantCulture, $"{verification.Prefill} in the prefill and {verification.Decode} token by token"));
        }

        long bytes = new FileInfo(path).Length + (File.Exists(path + OnnxModelWriter.DataEnding) ? new FileInfo(path + OnnxModelWriter.DataEnding).Length : 0);
        target.Commit();
        int linears = (ModelShapes.Linears(checkpoint.Configuration).Count * checkpoint.Configuration.LayerCount) + (checkpoint.Configuration.TieWordEmbeddings ? 0 : 1);
        return new OnnxExportReport(linears, bytes, watch.Elapsed.TotalSeconds, verification);
    }

    private static ModelProto WriteModel(
        string path,
        CheckpointFolder checkpoint,
        ArmorCheckpoint? armor,
        OnnxExportOptions options,
        IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        // Cores hold their zeros, wrappers come on top.
        long estimate = (long)(1.2 * ModelShapes.ParameterCount(checkpoint.Configuration) * options.Storage.ByteSize());
        bool external = options.ExternalData || estimate > OnnxModelWriter.LargestInline;
        using var writer = new OnnxModelWriter(path, external);
        ModelProto model = DecoderGraph.Build(checkpoint, armor, options, writer.Take, progress, cancellationToken);
        using OnnxFile file = OnnxFile.Wrap(path, model);
        writer.Write(file, cancellationToken);
        return model;
    }

    private static void WriteCompanions(string folder, string target, ModelConfiguration configuration)
    {
        foreach (string file in Directory.EnumerateFiles(folder))
        {
            string name = Path.GetFileName(file);
            if (Companions.Any(start => name.StartsWith(start, StringComparison.OrdinalIgnoreCase)) && !name.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))
            {
                using FileStream from = File.OpenRead(file);
                using FileStream to = File.Create(Path.Combine(target, name));
                from.CopyTo(to);
            }
        }

        JsonObject source = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        source.Remove("armor");
        source.Remove("sparsity_config");
        WriteJson(Path.Combine(target, "config.json"), source);
        WriteJson(Path.Combine(target, "genai_config.json"), GenAiConfiguration.Create(configuration, source));
    }

    private static void WriteJson(string path, JsonObject tree) =>
        File.WriteAllText(path, tree.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
}
