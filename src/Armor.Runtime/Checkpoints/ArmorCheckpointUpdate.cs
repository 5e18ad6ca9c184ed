using System.Runtime.InteropServices;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Writes an ARMOR checkpoint anew with other values of the same shapes, as fine-tuning leaves them: file by file as in the source, everything that is
/// not a pruned linear copied.
/// </summary>
public static class ArmorCheckpointUpdate
{
    /// <summary>Writes the folder; it takes its name at the end, and equal input gives equal bytes.</summary>
    /// <param name="source">The checkpoint whose layout is kept.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="supply">
    /// Gives the layer of a pruned linear; may be called several times for each. Where the source's cores are quantised, a core of floats is rounded to it.
    /// </param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">
    /// The output is not empty, a layer has other shapes or another pattern than in the source, a value is not finite or exceeds the stored type, or
    /// the disk is full.
    /// </exception>
    public static void Write(ArmorCheckpoint source, string output, Func<string, ArmorLayer> supply, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(supply);
        using var folder = CheckpointFolderWriter.Create(source.Base.Folder, output);
        foreach (var file in source.Base.Files)
        {
            var name = Path.GetFileName(file.Path);
            WriteFile(source, file, Path.Combine(folder.TemporaryFolder, name), Path.Combine(output, name), supply, cancellationToken);
        }

        // Shards hold the same tensors in the same sizes, so their index stays as it is.
        foreach (var index in Directory.EnumerateFiles(source.Base.Folder, "*.safetensors.index.json"))
        {
            File.WriteAllBytes(Path.Combine(folder.TemporaryFolder, Path.GetFileName(index)), File.ReadAllBytes(index));
        }

        folder.WriteConfiguration(CheckpointFolderWriter.ReadConfiguration(source.Base.Folder));
        folder.CopyCompanions();
        folder.Commit();
    }

    private static void WriteFile(
        ArmorCheckpoint source, SafetensorsFile file, string path, string shownPath, Func<string, ArmorLayer> supply, CancellationToken cancellationToken)
    {
        var room = SafetensorsHeader.Format(file.TensorsInFileOrder, file.Metadata).Length;
        using var stream = new SafetensorsStream(path, room, SafetensorsStream.OpenFile, shownPath);
        (string Name, ArmorLayer Layer)? current = null;
        foreach (var tensor in file.TensorsInFileOrder)
        {
            cancellationToken.ThrowIfCancellationRequested();
            stream.Begin(tensor);
            var infix = tensor.Name.LastIndexOf(ArmorFormat.Infix, StringComparison.Ordinal);
            if (infix < 0)
            {
                stream.AppendCopy(source.Base, tensor);
                continue;
            }

            var linear = tensor.Name[..infix];
            if (current?.Name != linear)
            {
                var layer = supply(linear);
                RequireSameShape(source, layer, linear, shownPath);
                current = (linear, source.CoreType == TensorElementType.Int8 ? StoredLayer.Quantised(layer, linear, shownPath) : layer);
            }

            WriteFactor(stream, current.Value.Layer, tensor, tensor.Name[infix..], shownPath);
        }

        stream.Commit([
            .. file.Metadata.Where(entry => !ArmorFormat.TryParseChecksum(file.Path, entry, out _, out _)),
            .. stream.Written.Select(written => ArmorFormat.ChecksumEntry(written.Tensor.Name, written.Checksum))]);
    }

    private static void WriteFactor(SafetensorsStream stream, ArmorLayer layer, TensorDescription tensor, string part, string path)
    {
        var core = layer.Core;
        if (part == ArmorFormat.CoreMask || (part == ArmorFormat.CoreValues && core.IsQuantised))
        {
            stream.Append(part == ArmorFormat.CoreMask ? core.Mask.Span : MemoryMarshal.AsBytes(core.QuantisedValues.Span));
            return;
        }

        var values = part switch
        {
            ArmorFormat.CoreScales => core.Scales,
            ArmorFormat.CoreValues => layer.Core.Values,
            ArmorFormat.InputBlocks => layer.InputWrapper!.Values,
            _ => layer.OutputWrapper!.Values,
        };
        StoredLayer.RequireFinite(values.Span, tensor, path);
        stream.AppendFloat32(values.Span);
    }

    private static void RequireSameShape(ArmorCheckpoint source, ArmorLayer layer, string linear, string path)
    {
        var expected = source.GetLayer(linear);
        var found = (layer.Rows, layer.Columns, layer.OutputWrapper?.BlockSize, layer.InputWrapper?.BlockSize, layer.Core.Pattern);
        var wanted = (expected.Rows, expected.Columns, expected.OutputBlock, expected.InputBlock, source.Pattern);
        if (found != wanted)
        {
            throw new CheckpointException(path, "the layer has another shape than before", linear, $"{wanted}", $"{found}");
        }
    }
}
