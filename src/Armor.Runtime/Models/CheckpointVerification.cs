using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Models;

/// <summary>Whether a checkpoint holds exactly what its configuration describes.</summary>
public static class CheckpointVerification
{
    /// <summary>
    /// Checks names, shapes and types of every tensor of a dense checkpoint without reading any. Tensors that do not belong to the family are
    /// refused, because a bias or a norm left out silently changes every result; only precomputed rotary frequencies and a stored copy of a
    /// tied head may be there besides.
    /// </summary>
    /// <param name="checkpoint">The folder.</param>
    /// <exception cref="CheckpointException">A tensor is missing, unexpected, or of another shape or type.</exception>
    public static void Verify(CheckpointFolder checkpoint) => Verify(checkpoint, []);

    /// <summary>Checks an ARMOR checkpoint in the same way; the factors of a pruned linear stand in for its weight.</summary>
    /// <param name="checkpoint">The checkpoint.</param>
    /// <exception cref="CheckpointException">A tensor is missing, unexpected, or of another shape or type.</exception>
    public static void Verify(ArmorCheckpoint checkpoint)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        var shapes = ModelShapes.Enumerate(checkpoint.Base.Configuration).ToDictionary(shape => shape.Name, StringComparer.Ordinal);
        foreach (var layer in checkpoint.Layers)
        {
            var found = $"shape [{layer.Rows}, {layer.Columns}]";
            if (!shapes.TryGetValue(layer.Name + ".weight", out var shape))
            {
                throw new CheckpointException(
                    checkpoint.Base.Folder, "the pruned linear does not belong to a model of this configuration", layer.Name, "no such linear", found);
            }

            if (!shape.Shape.SequenceEqual([layer.Rows, layer.Columns]))
            {
                throw new CheckpointException(
                    checkpoint.Base.Folder, "the shape does not fit config.json", layer.Name, $"shape [{string.Join(", ", shape.Shape)}]", found);
            }
        }

        Verify(checkpoint.Base, checkpoint.PrunedLinears);
    }

    private static void Verify(CheckpointFolder checkpoint, IReadOnlyCollection<string> prunedLinears)
    {
        ArgumentNullException.ThrowIfNull(checkpoint);
        var configuration = checkpoint.Configuration;
        var factorised = prunedLinears.Select(linear => linear + ".weight").ToHashSet(StringComparer.Ordinal);
        var expected = new HashSet<string>(StringComparer.Ordinal);
        foreach (var shape in ModelShapes.Enumerate(configuration))
        {
            expected.Add(shape.Name);
            if (!factorised.Contains(shape.Name))
            {
                VerifyTensor(checkpoint, shape);
            }
        }

        foreach (var name in checkpoint.Tensors.Keys)
        {
            var isKnown = expected.Contains(name)
                || (name == ModelShapes.Head && configuration.TieWordEmbeddings)
                || name.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal)
                || IsPartOf(name, factorised);
            if (!isKnown)
            {
                throw new CheckpointException(
                    checkpoint.Folder, "the tensor does not belong to a model of this configuration", name, "no such tensor", $"{checkpoint.GetTensor(name)}");
            }
        }
    }

    /// <summary>True of <c>P.armor.core_values</c> and the like, where <c>P.weight</c> is factorised.</summary>
    private static bool IsPartOf(string name, HashSet<string> factorised)
    {
        var mark = name.LastIndexOf(".armor.", StringComparison.Ordinal);
        return mark > 0 && factorised.Contains(string.Concat(name.AsSpan(0, mark), ".weight"));
    }

    private static void VerifyTensor(CheckpointFolder checkpoint, TensorShape shape)
    {
        var expected = $"shape [{string.Join(", ", shape.Shape)}]";
        if (!checkpoint.Tensors.TryGetValue(shape.Name, out var tensor))
        {
            throw new CheckpointException(checkpoint.Folder, "the tensor is missing", shape.Name, expected, "no tensor of this name");
        }

        if (!tensor.Shape.SequenceEqual(shape.Shape))
        {
            throw new CheckpointException(
                checkpoint.Folder, "the shape does not fit config.json", shape.Name, expected, $"shape [{string.Join(", ", tensor.Shape)}]");
        }

        if (!tensor.ElementType.ConvertsToFloat32())
        {
            throw new CheckpointException(
                checkpoint.Folder, "the element type is not a floating-point type", shape.Name, "F32, F16, BF16 or F64", tensor.ElementType.SafetensorsName());
        }
    }
}
