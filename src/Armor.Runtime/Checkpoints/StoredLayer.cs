using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>What a layer must pass before it is written.</summary>
internal static class StoredLayer
{
    /// <summary>The layer with a quantised core, rounded if it has another.</summary>
    /// <exception cref="CheckpointException">A value of the core is not finite.</exception>
    public static ArmorLayer Quantised(ArmorLayer layer, string linear, string path)
    {
        if (layer.Core.IsQuantised)
        {
            return layer;
        }

        RequireFinite(layer.Core.Values.Span, new TensorDescription(linear + ArmorFormat.CoreValues, TensorElementType.Float32, [layer.Rows, layer.Core.RowValueCount]), path);
        return layer.RoundedTo(TensorElementType.Float32, TensorElementType.Int8);
    }

    /// <summary>Checks values that will be stored.</summary>
    /// <exception cref="CheckpointException">One is not finite.</exception>
    public static void RequireFinite(ReadOnlySpan<float> values, TensorDescription tensor, string path)
    {
        if (FloatConversion.IndexOfNonFinite(values) is >= 0 and var index)
        {
            throw new CheckpointException(
                path, "a value is not finite", tensor.Name, "finite values", FormattableString.Invariant($"{values[index]} at element {index} of {tensor.ShapeText}"));
        }
    }
}
