namespace Armor.Runtime.Checkpoints;

/// <summary>The pruned linears that a folder's headers tell of, checked for names, types and shapes.</summary>
internal static class ArmorLayout
{
    /// <summary>Describes every pruned linear.</summary>
    /// <exception cref="CheckpointException">A factor is unknown or missing, or of another type or shape.</exception>
    public static List<ArmorLayerDescription> Read(CheckpointFolder folder, ArmorFormat format)
    {
        var layers = new List<ArmorLayerDescription>();
        foreach (var tensor in folder.TensorsInFileOrder)
        {
            var infix = tensor.Name.LastIndexOf(ArmorFormat.Infix, StringComparison.Ordinal);
            if (infix < 0)
            {
                continue;
            }

            var linear = tensor.Name[..infix];
            var part = tensor.Name[infix..];
            var known = part is ArmorFormat.CoreValues or ArmorFormat.CoreMask or ArmorFormat.InputBlocks or ArmorFormat.OutputBlocks
                || (format.IsQuantised && part == ArmorFormat.CoreScales);
            if (!known)
            {
                throw new CheckpointException(
                    folder.FileOf(tensor.Name).Path,
                    "the ARMOR tensor is unknown",
                    tensor.Name,
                    format.IsQuantised ? "core_values, core_scales, core_mask, input_blocks or output_blocks" : "core_values, core_mask, input_blocks or output_blocks",
                    part);
            }

            if (!folder.Contains(linear + ArmorFormat.CoreValues))
            {
                throw new CheckpointException(folder.FileOf(tensor.Name).Path, "the core's values are missing", tensor.Name, linear + ArmorFormat.CoreValues, "none");
            }

            if (part == ArmorFormat.CoreValues)
            {
                layers.Add(Describe(folder, format, linear, tensor));
            }
        }

        return layers;
    }

    /// <summary>The tensors of a pruned linear, in the order in which they are written.</summary>
    public static IEnumerable<TensorDescription> Factors(ArmorLayerDescription layer, ArmorFormat format)
    {
        if (layer.InputBlock is { } input)
        {
            yield return new TensorDescription(layer.Name + ArmorFormat.InputBlocks, format.ElementType, [layer.Columns / input, input, input]);
        }

        if (layer.OutputBlock is { } output)
        {
            yield return new TensorDescription(layer.Name + ArmorFormat.OutputBlocks, format.ElementType, [layer.Rows / output, output, output]);
        }

        foreach (var tensor in Core(layer.Name, layer.Rows, layer.Columns, format))
        {
            yield return tensor;
        }
    }

    /// <summary>The same with the largest wrappers that the linear can have.</summary>
    public static IEnumerable<TensorDescription> LargestFactors(TensorDescription weight, ArmorFormat format)
    {
        var linear = weight.Name[..^".weight".Length];
        var (rows, columns) = ((int)weight.Shape[0], (int)weight.Shape[1]);

        // A wrapper has three dimensions; the 24 bytes a linear that its caller adds hold the third of each.
        yield return new TensorDescription(linear + ArmorFormat.InputBlocks, format.ElementType, [columns, columns]);
        yield return new TensorDescription(linear + ArmorFormat.OutputBlocks, format.ElementType, [rows, rows]);
        foreach (var tensor in Core(linear, rows, columns, format))
        {
            yield return tensor;
        }
    }

    private static ArmorLayerDescription Describe(CheckpointFolder folder, ArmorFormat format, string linear, TensorDescription values)
    {
        var pattern = format.Pattern;
        if (folder.Contains(linear + ".weight"))
        {
            throw new CheckpointException(
                folder.FileOf(linear + ".weight").Path, "the linear is stored both dense and pruned", linear + ".weight", "no dense weight", "one");
        }

        if (values.Shape.Count != 2 || values.Shape[0] <= 0 || values.Shape[1] <= 0 || values.Shape[1] % pattern.Kept != 0
            || values.Shape[0] > Array.MaxLength || values.Shape[1] > Array.MaxLength
            || (decimal)values.ElementCount / pattern.Kept * pattern.Group > Array.MaxLength)
        {
            throw new CheckpointException(
                folder.FileOf(values.Name).Path,
                "the shape is not that of a core's values",
                values.Name,
                $"[d_out, d_in·{pattern.Kept}/{pattern.Group}] with d_in a multiple of {pattern.Group} and at most {Array.MaxLength} elements dense",
                values.ShapeText);
        }

        var rows = (int)values.Shape[0];
        var columns = (int)values.Shape[1] / pattern.Kept * pattern.Group;
        var bytes = Require(format.Values(linear, rows, columns)) + Require(ArmorFormat.Mask(linear, rows, columns));
        bytes += format.IsQuantised ? Require(format.Scales(linear, rows, columns)) : 0;
        var outputBlock = Wrapper(linear + ArmorFormat.OutputBlocks, rows);
        var inputBlock = Wrapper(linear + ArmorFormat.InputBlocks, columns);
        return new ArmorLayerDescription(
            linear, rows, columns, outputBlock, inputBlock, bytes, (long)rows * columns * format.SourceElementType.ByteSize());

        int? Wrapper(string name, int size)
        {
            if (!folder.Contains(name))
            {
                return null;
            }

            var tensor = folder.GetTensor(name);
            var block = tensor.Shape.Count == 3 ? tensor.Shape[1] : 0;
            if (block <= 0 || block > size || size % block != 0)
            {
                throw new CheckpointException(
                    folder.FileOf(name).Path, "the shape is not that of a wrapper", name, $"[{size} / b, b, b] with b a divisor of {size}", tensor.ShapeText);
            }

            bytes += Require(new TensorDescription(name, format.ElementType, [size / block, block, block]));
            return (int)block;
        }

        long Require(TensorDescription expected)
        {
            var tensor = folder.GetTensor(expected.Name);
            return tensor.Equals(expected)
                ? tensor.ByteCount
                : throw new CheckpointException(
                    folder.FileOf(tensor.Name).Path,
                    "type or shape does not agree with the core",
                    tensor.Name,
                    $"{expected.ElementType.SafetensorsName()} {expected.ShapeText}",
                    $"{tensor.ElementType.SafetensorsName()} {tensor.ShapeText}");
        }
    }

    private static TensorDescription[] Core(string linear, int rows, int columns, ArmorFormat format) =>
    [
        format.Values(linear, rows, columns),
        .. format.IsQuantised ? (TensorDescription[])[format.Scales(linear, rows, columns)] : [],
        ArmorFormat.Mask(linear, rows, columns),
    ];
}
