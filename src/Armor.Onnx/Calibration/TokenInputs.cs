using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Calibration;

/// <summary>The inputs of a language model, by the names that exporters give them, for one sequence without a past.</summary>
internal static class TokenInputs
{
    private const string Tokens = "input_ids";

    /// <summary>Makes sure that every input of a model is known.</summary>
    /// <exception cref="OnnxException">One is not, or there are no tokens among them.</exception>
    public static void Require(string model, IReadOnlyList<ValueInfoProto> inputs)
    {
        if (inputs.All(input => input.Name != Tokens))
        {
            throw new OnnxException(model, "the model takes no tokens; give its inputs as .npz files", null, $"an input '{Tokens}'", string.Join(", ", inputs.Select(input => input.Name)));
        }

        foreach (ValueInfoProto input in inputs)
        {
            Make(model, input, [0]);
        }
    }

    /// <summary>A tensor for each input.</summary>
    public static IReadOnlyCollection<NamedOnnxValue> Create(string model, IReadOnlyList<ValueInfoProto> inputs, int[] tokens) =>
        [.. inputs.Select(input => Make(model, input, tokens))];

    private static NamedOnnxValue Make(string model, ValueInfoProto input, int[] tokens)
    {
        if (input.Name.StartsWith("past", StringComparison.Ordinal))
        {
            return Empty(model, input);
        }

        return input.Name switch
        {
            Tokens => Row(model, input, [.. tokens.Select(token => (long)token)]),
            "attention_mask" => Row(model, input, [.. Enumerable.Repeat(1L, tokens.Length)]),
            "position_ids" or "cache_position" => Row(model, input, [.. Enumerable.Range(0, tokens.Length).Select(position => (long)position)]),
            "token_type_ids" => Row(model, input, new long[tokens.Length]),
            "use_cache_branch" => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<bool>(new bool[1], [1])),
            _ => throw new OnnxException(
                model, "the input is not known; give all inputs as .npz files", $"input '{input.Name}'",
                "input_ids, attention_mask, position_ids, cache_position, token_type_ids, use_cache_branch or past…", "another"),
        };
    }

    private static NamedOnnxValue Row(string model, ValueInfoProto input, long[] values)
    {
        int[] shape = input.Type.TensorType?.Shape?.Dim.Count == 1 ? [values.Length] : [1, values.Length];
        return (DataType?)input.Type.TensorType?.ElemType switch
        {
            DataType.Int64 => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<long>(values, shape)),
            DataType.Int32 => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<int>(Array.ConvertAll(values, value => (int)value), shape)),
            DataType.Float => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<float>(Array.ConvertAll(values, value => (float)value), shape)),
            DataType.Bool => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<bool>(Array.ConvertAll(values, value => value != 0), shape)),
            _ => throw Unexpected(model, input, "int64, int32, float or bool"),
        };
    }

    // Sizes that are fixed stay; the batch is one sequence, and the past has no positions.
    private static NamedOnnxValue Empty(string model, ValueInfoProto input)
    {
        TypeProto.Types.Tensor? type = input.Type.TensorType;
        int[] shape = [.. (type?.Shape?.Dim ?? []).Select((size, axis) => size.HasDimValue ? (int)size.DimValue : axis == 0 ? 1 : 0)];
        if (!shape.Contains(0))
        {
            throw new OnnxException(model, "the past must have a size that is not fixed", $"input '{input.Name}'", "a named size", ElementTypes.Shape(shape.Select(size => (long)size)));
        }

        return (DataType?)type?.ElemType switch
        {
            DataType.Float => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<float>(Array.Empty<float>(), shape)),
            DataType.Float16 => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<Float16>(Array.Empty<Float16>(), shape)),
            DataType.Bfloat16 => NamedOnnxValue.CreateFromTensor(input.Name, new DenseTensor<BFloat16>(Array.Empty<BFloat16>(), shape)),
            _ => throw Unexpected(model, input, "float, float16 or bfloat16"),
        };
    }

    private static OnnxException Unexpected(string model, ValueInfoProto input, string expected) =>
        new(model, "the input's type is not known", $"input '{input.Name}'", expected, ElementTypes.Name(input.Type.TensorType?.ElemType ?? 0));
}
