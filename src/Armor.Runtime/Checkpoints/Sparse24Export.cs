using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Writes a plain 2:4 result in the <c>sparse-24-bitmask</c> layout of compressed-tensors: <c>P.compressed</c> [d_out, d_in / 2],
/// <c>P.bitmask</c> [d_out, ceil(d_in / 8)] and <c>P.shape</c> [2, 1]. The layout has no place for wrappers.
/// </summary>
public static class Sparse24Export
{
    /// <summary>Writes the folder; it takes its name at the end, and equal input gives equal bytes.</summary>
    /// <param name="checkpoint">The source; of pattern 2:4, none of its layers with a wrapper.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="progress">Told after each linear.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">The pattern is not 2:4, a layer has a wrapper, the output is not empty, the source is damaged, or the disk is full.</exception>
    public static void Write(
        ArmorCheckpoint checkpoint, string output, IProgress<ExportProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        if (checkpoint.Pattern != SparsityPattern.TwoFour)
        {
            throw new CheckpointException(
                checkpoint.Base.Folder, "the pattern is not that of sparse-24-bitmask; export it dense", null, $"{SparsityPattern.TwoFour}", $"{checkpoint.Pattern}");
        }

        foreach (var layer in checkpoint.Layers)
        {
            if (layer.InputBlock is not null || layer.OutputBlock is not null)
            {
                throw new CheckpointException(
                    checkpoint.Base.Folder,
                    "the layer has wrappers, which sparse-24-bitmask cannot hold; export it dense",
                    layer.Name,
                    "a core without wrappers",
                    $"input blocks of {layer.InputBlock ?? 1}, output blocks of {layer.OutputBlock ?? 1}");
            }
        }

        CheckpointExport.Write(
            checkpoint,
            output,
            linear =>
            [
                new TensorDescription(linear.Name + ".compressed", checkpoint.ElementType, [linear.Rows, linear.Columns / 2]),
                new TensorDescription(linear.Name + ".bitmask", TensorElementType.UInt8, [linear.Rows, (linear.Columns + 7) / 8]),
                new TensorDescription(linear.Name + ".shape", TensorElementType.Int64, [2, 1]),
            ],
            (writer, linear) => WriteCores(writer, linear, [.. linear.Parts.Select(part => checkpoint.ReadLayer(part).Core)]),
            configuration => AddSparsity(configuration, checkpoint),
            progress,
            cancellationToken);
    }

    private static void WriteCores(SafetensorsWriter writer, ExportedLinear linear, SparseCore[] cores)
    {
        foreach (var core in cores)
        {
            writer.WriteFloat32(linear.Name + ".compressed", core.Values.Span);
        }

        foreach (var core in cores)
        {
            writer.Write(linear.Name + ".bitmask", core.Mask.Span);
        }

        writer.Write(linear.Name + ".shape", MemoryMarshal.AsBytes<long>([linear.Rows, linear.Columns]));
    }

    private static void AddSparsity(JsonObject configuration, ArmorCheckpoint checkpoint)
    {
        // Layers of the class Linear that stayed dense: the head, and linears that were not pruned.
        var ignored = checkpoint.Base.TensorsInFileOrder
            .Where(tensor => tensor.Shape.Count == 2 && tensor.Name.EndsWith(".weight", StringComparison.Ordinal) && !tensor.Name.Contains("embed", StringComparison.Ordinal))
            .Select(tensor => tensor.Name[..^".weight".Length])
            .Append("lm_head")
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal)
            .Select(name => (JsonNode)name);
        foreach (var key in CheckpointExport.QuantizationKeys)
        {
            configuration.Remove(key);
        }

        configuration[CheckpointExport.QuantizationKeys[0]] = new JsonObject
        {
            ["quant_method"] = "compressed-tensors",
            ["format"] = "dense",
            [CheckpointExport.SparsityKey] = new JsonObject
            {
                ["format"] = "sparse-24-bitmask",
                ["sparsity_structure"] = "2:4",
                ["targets"] = new JsonArray("Linear"),
                ["ignore"] = new JsonArray([.. ignored]),
            },
        };
    }
}
