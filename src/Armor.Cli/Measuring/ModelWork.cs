using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Cli.Measuring;

/// <summary>What one token costs a model.</summary>
/// <param name="Bytes">Bytes of the weights that are read for it: those that are stored, but for parts that are held in another type.</param>
/// <param name="Flops">Multiplications and additions of the linears, as if all of them were dense.</param>
internal sealed record ModelWork(long Bytes, double Flops)
{
    // A scale of four bytes for 256 columns.
    private const double Int8HeadBytes = 1 + (4.0 / 256);

    /// <param name="folder">Dense or ARMOR.</param>
    /// <param name="types">In which types parts are held; those that are stored if not given.</param>
    internal static ModelWork Of(string folder, HeldTypes? types = null)
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
            double own = isHead ? HeldBytes(tensor, types?.Head, Int8HeadBytes) : IsWrapper(tensor.Name) ? HeldBytes(tensor, types?.Wrappers, Int8WrapperBytes(tensor)) : tensor.ByteCount;
            bytes += isEmbedding ? 0 : own * (IsExpert(tensor.Name) ? active : 1);
        }

        double weights = (double)configuration.VocabularySize * configuration.HiddenSize;
        foreach (LinearDescription linear in ModelShapes.Linears(configuration))
        {
            weights += configuration.LayerCount * (double)linear.Rows * linear.Columns * (linear.Expert is null ? 1 : active);
        }

        return new ModelWork((long)bytes, 2 * weights);
    }

    private static double HeldBytes(TensorDescription tensor, TensorElementType? heldAs, double int8) => heldAs switch
    {
        null => tensor.ByteCount,
        TensorElementType.Int8 => tensor.ElementCount * int8,
        { } type => tensor.ElementCount * (double)type.ByteSize(),
    };

    /// <summary>A row of a block has a scale of four bytes for each 128 columns, and a diagonal of four.</summary>
    private static double Int8WrapperBytes(TensorDescription blocks) => 1 + (4.0 * (((blocks.Shape[^1] + 127) / 128) + 1) / blocks.Shape[^1]);

    // Names of docs/formats.md.
    private static bool IsWrapper(string name) =>
        name.EndsWith(".armor.input_blocks", StringComparison.Ordinal) || name.EndsWith(".armor.output_blocks", StringComparison.Ordinal);

    private static bool IsExpert(string name) => name.Contains(".experts.", StringComparison.Ordinal);
}
