using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Cli.Measuring;

/// <summary>What one token costs a model.</summary>
/// <param name="Bytes">Bytes of the weights that are read for it: those that are stored, but for a head that is held in another type.</param>
/// <param name="Flops">Multiplications and additions of the linears, as if all of them were dense.</param>
internal sealed record ModelWork(long Bytes, double Flops)
{
    // A scale of four bytes for 256 columns.
    private const double Int8Bytes = 1 + (4.0 / 256);

    /// <param name="folder">Dense or ARMOR.</param>
    /// <param name="headType">The type in which the head is held; null for the stored one.</param>
    internal static ModelWork Of(string folder, TensorElementType? headType = null)
    {
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder);
        ModelConfiguration configuration = checkpoint.Configuration;
        // Of experts, a token sees a few.
        double active = configuration.Experts is { } experts ? (double)experts.PerToken / experts.Count : 1;
        double bytes = 0;
        foreach (TensorDescription tensor in checkpoint.Tensors.Values)
        {
            // A row of the embedding is next to nothing, unless the head shares its weight.
            bool isEmbedding = tensor.Name == ModelShapes.Embedding && !configuration.TieWordEmbeddings;
            bool isHead = tensor.Name == (configuration.TieWordEmbeddings ? ModelShapes.Embedding : ModelShapes.Head);
            double own = isHead && headType is { } type ? tensor.ElementCount * (type == TensorElementType.Int8 ? Int8Bytes : type.ByteSize()) : tensor.ByteCount;
            bytes += isEmbedding ? 0 : own * (IsExpert(tensor.Name) ? active : 1);
        }

        double weights = (double)configuration.VocabularySize * configuration.HiddenSize;
        foreach (LinearDescription linear in ModelShapes.Linears(configuration))
        {
            weights += configuration.LayerCount * (double)linear.Rows * linear.Columns * (linear.Expert is null ? 1 : active);
        }

        return new ModelWork((long)bytes, 2 * weights);
    }

    private static bool IsExpert(string name) => name.Contains(".experts.", StringComparison.Ordinal);
}
