using System.Text.Json.Nodes;

namespace Armor.Runtime.Checkpoints;

/// <summary>What the exports share: each pruned linear is written anew in the place of its core, everything else is copied.</summary>
internal static class CheckpointExport
{
    public const string SparsityKey = "sparsity_config";

    public static readonly string[] QuantizationKeys = ["quantization_config", "compression_config"];

    /// <param name="checkpoint">The source.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="describe">The tensors that a pruned linear becomes.</param>
    /// <param name="write">Writes them in that order.</param>
    /// <param name="configure">Changes the configuration, from which "armor" is already gone.</param>
    /// <param name="progress">Told after each linear.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    public static void Write(
        ArmorCheckpoint checkpoint,
        string output,
        Func<ArmorLayerDescription, TensorDescription[]> describe,
        Action<SafetensorsWriter, ArmorLayerDescription> write,
        Action<JsonObject> configure,
        IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        var source = checkpoint.Base;
        var byCore = checkpoint.Layers.ToDictionary(layer => layer.Name + ArmorFormat.CoreValues, StringComparer.Ordinal);
        var kept = source.TensorsInFileOrder.Where(tensor => byCore.ContainsKey(tensor.Name) || !tensor.Name.Contains(ArmorFormat.Infix, StringComparison.Ordinal)).ToArray();
        TensorDescription[] tensors = [.. kept.SelectMany(tensor => byCore.TryGetValue(tensor.Name, out var layer) ? describe(layer) : [tensor])];
        var metadata = source.Files[0].Metadata
            .Where(entry => !ArmorFormat.TryParseChecksum(source.Files[0].Path, entry, out _, out _))
            .ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);

        using var folder = CheckpointFolderWriter.Create(source.Folder, output);
        var path = Path.Combine(folder.TemporaryFolder, CheckpointFolder.SingleFileName);
        var shownPath = Path.Combine(output, CheckpointFolder.SingleFileName);
        using (var writer = SafetensorsWriter.Create(path, tensors, metadata, SafetensorsStream.OpenFile, shownPath))
        {
            var done = 0;
            foreach (var tensor in kept)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (byCore.TryGetValue(tensor.Name, out var layer))
                {
                    write(writer, layer);
                    progress?.Report(new ExportProgress(++done, byCore.Count, layer.Name));
                }
                else
                {
                    writer.Copy(source, tensor);
                }
            }

            writer.Commit();
        }

        var configuration = CheckpointFolderWriter.ReadConfiguration(source.Folder);
        configuration.Remove(ArmorFormat.ConfigurationKey);
        configure(configuration);
        folder.WriteConfiguration(configuration);
        folder.CopyCompanions();
        folder.Commit();
    }
}
