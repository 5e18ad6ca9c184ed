using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Cli.Measuring;

/// <summary>What one token costs a model.</summary>
/// <param name="Bytes">Stored bytes of the weights that are read for it.</param>
/// <param name="Flops">Multiplications and additions of the linears, as if all of them were dense.</param>
internal sealed record ModelWork(long Bytes, double Flops)
{
    internal static ModelWork Of(string folder)
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
            bytes += isEmbedding ? 0 : tensor.ByteCount * (IsExpert(tensor.Name) ? active : 1);
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
