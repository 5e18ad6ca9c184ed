using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Onnx.Export;

/// <summary>A checkpoint's weights, dense or factorised, as constants of a decoder's graph.</summary>
/// <param name="checkpoint">All tensors.</param>
/// <param name="armor">The same folder's factors; null for a dense one.</param>
/// <param name="builder">Of the graph.</param>
/// <param name="graph">The graph.</param>
/// <param name="options">How constants are stored.</param>
internal sealed class DecoderWeights(
    CheckpointFolder checkpoint, ArmorCheckpoint? armor, GraphBuilder builder, GraphProto graph, OnnxExportOptions options)
{
    private readonly HashSet<string> _pruned = armor is null ? [] : armor.PrunedLinears.ToHashSet(StringComparer.Ordinal);

    /// <summary>How many linears were made.</summary>
    public int Linears { get; private set; }

    /// <summary>y = x·Wᵀ + bias for rows [batch, length, d_in].</summary>
    /// <param name="rows">x.</param>
    /// <param name="name">The linear's full name, without <c>.weight</c>.</param>
    /// <param name="hasBias">Whether there is one.</param>
    public string Linear(string rows, string name, bool hasBias)
    {
        const int Rank = 3;
        Linears++;
        string product;
        if (_pruned.Contains(name))
        {
            ArmorLayer layer = armor!.ReadLayer(name).RoundedTo(options.Storage);
            RequireFinite(name, layer.Core.Values.Span);
            product = ArmorWeight.Add(builder, graph, layer, name, options.Storage, TensorElementType.Float32, options.CoreFormat).Multiply(rows, Rank);
        }
        else
        {
            TensorDescription weight = checkpoint.GetTensor(name + ".weight");
            (int outputs, int inputs) = ((int)weight.Shape[0], (int)weight.Shape[1]);
            float[] transposed = Matrices.Transposed(checkpoint.ReadFiniteFloat32(name + ".weight"), outputs, inputs);
            product = builder.Node("MatMul", [rows, Constant(name + ".weight", transposed, inputs, outputs)], name);
        }

        return hasBias ? builder.Node("Add", [product, Vector(name + ".bias")], name + ".biased") : product;
    }

    /// <summary>A tensor as it is, in its own shape.</summary>
    public string Tensor(string name) => Constant(name, checkpoint.ReadFiniteFloat32(name), [.. checkpoint.GetTensor(name).Shape]);

    /// <summary>A vector, always in float32.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="offset">Added to each of its values.</param>
    public string Vector(string name, float offset = 0)
    {
        float[] values = checkpoint.ReadFiniteFloat32(name);
        return builder.Floats(name, Array.ConvertAll(values, value => value + offset), TensorElementType.Float32, values.Length);
    }

    private string Constant(string name, float[] values, params long[] shape)
    {
        if (options.Storage == TensorElementType.Float16)
        {
            RequireFinite(name, Array.ConvertAll(values, value => (float)(Half)value));
        }

        string constant = builder.Floats(name, values, options.Storage, shape);
        return options.Storage == TensorElementType.Float32
            ? constant
            : builder.Node("Cast", [constant], name + "_cast", GraphBuilder.Attribute("to", (int)Proto.TensorProto.Types.DataType.Float));
    }

    private void RequireFinite(string name, ReadOnlySpan<float> values)
    {
        foreach (float value in values)
        {
            if (!float.IsFinite(value))
            {
                throw new OnnxException(
                    checkpoint.Folder, $"a weight exceeds {options.Storage}; choose a storage type of wider range", $"tensor '{name}'", "finite values", $"{value}");
            }
        }
    }
}
