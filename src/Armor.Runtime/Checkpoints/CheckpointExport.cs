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
        Func<ExportedLinear, TensorDescription[]> describe,
        Action<SafetensorsWriter, ExportedLinear> write,
        Action<JsonObject> configure,
        IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        var source = checkpoint.Base;
        var linears = ExportedLinear.Of(checkpoint);
        var kept = Kept(source, linears).ToArray();
        TensorDescription[] tensors = [.. kept.SelectMany(item => item.Linear is { } linear ? describe(linear) : [item.Tensor!])];
        var metadata = source.Files[0].Metadata
            .Where(entry => !ArmorFormat.TryParseChecksum(source.Files[0].Path, entry, out _, out _))
            .ToDictionary(entry => entry.Key, entry => entry.Value, StringComparer.Ordinal);

        using var folder = CheckpointFolderWriter.Create(source.Folder, output);
        var path = Path.Combine(folder.TemporaryFolder, CheckpointFolder.SingleFileName);
        var shownPath = Path.Combine(output, CheckpointFolder.SingleFileName);
        using (var writer = SafetensorsWriter.Create(path, tensors, metadata, SafetensorsStream.OpenFile, shownPath))
        {
            var done = 0;
            foreach (var (tensor, linear) in kept)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (linear is not null)
                {
                    write(writer, linear);
                    progress?.Report(new ExportProgress(++done, linears.Count, linear.Name));
                }
                else
                {
                    writer.Copy(source, tensor!);
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

    /// <summary>What is written, in order: tensors as they are, and each linear once, in the place of its first tensor.</summary>
    private static IEnumerable<(TensorDescription? Tensor, ExportedLinear? Linear)> Kept(CheckpointFolder source, IReadOnlyList<ExportedLinear> linears)
    {
        var byPart = linears.SelectMany(linear => linear.Parts.Select(part => (part, linear))).ToDictionary(entry => entry.part, entry => entry.linear, StringComparer.Ordinal);
        var done = new HashSet<ExportedLinear>(ReferenceEqualityComparer.Instance);
        foreach (var tensor in source.TensorsInFileOrder)
        {
            var mark = tensor.Name.LastIndexOf(ArmorFormat.Infix, StringComparison.Ordinal);
            var name = mark >= 0 ? tensor.Name[..mark] : tensor.Name.EndsWith(".weight", StringComparison.Ordinal) ? tensor.Name[..^".weight".Length] : tensor.Name;
            if (!byPart.TryGetValue(name, out var linear))
            {
                yield return (tensor, null);
            }
            else if (done.Add(linear))
            {
                yield return (null, linear);
            }
        }
    }
}
