using System.Text.Json.Nodes;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Writes an ARMOR checkpoint as an ordinary dense one, each pruned linear multiplied out to Ŵ = A·S·B. Any engine reads it; it is neither
/// smaller nor faster than the model before pruning.
/// </summary>
public static class DenseExport
{
    /// <summary>Writes the folder; it takes its name at the end, and equal input gives equal bytes.</summary>
    /// <param name="checkpoint">The source.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="elementType">The stored type of the multiplied weights; null for the type in which the dense linears were stored.</param>
    /// <param name="progress">Told after each linear.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">The output is not empty, the source is damaged, a value exceeds the type, or the disk is full.</exception>
    /// <exception cref="ArgumentException">The type is not a float type.</exception>
    public static void Write(
        ArmorCheckpoint checkpoint,
        string output,
        TensorElementType? elementType = null,
        IProgress<ExportProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        var type = elementType ?? checkpoint.SourceElementType;
        if (!type.ConvertsToFloat32())
        {
            throw new ArgumentException($"Weights are stored as F32, F16, BF16 or F64, not {type.SafetensorsName()}.", nameof(elementType));
        }

        CheckpointExport.Write(
            checkpoint,
            output,
            linear => [new TensorDescription(linear.Name + ".weight", type, [linear.Rows, linear.Columns])],
            (writer, linear) => WriteParts(checkpoint, writer, linear),
            RemoveSparsity,
            progress,
            cancellationToken);
    }

    private static void WriteParts(ArmorCheckpoint checkpoint, SafetensorsWriter writer, ExportedLinear linear)
    {
        foreach (var part in linear.Parts)
        {
            var dense = checkpoint.IsPruned(part) ? checkpoint.ReadLayer(part).ToDense() : checkpoint.Base.ReadFloat32(part + ".weight");
            writer.WriteFloat32(linear.Name + ".weight", dense);
        }
    }

    /// <summary>Engines that meet a <c>sparsity_config</c> expect compressed weights, or refuse.</summary>
    private static void RemoveSparsity(JsonObject configuration)
    {
        configuration.Remove(CheckpointExport.SparsityKey);
        foreach (var key in CheckpointExport.QuantizationKeys)
        {
            if (configuration[key] is JsonObject quantization)
            {
                quantization.Remove(CheckpointExport.SparsityKey);
            }
        }
    }
}
