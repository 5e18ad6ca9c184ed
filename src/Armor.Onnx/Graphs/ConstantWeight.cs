using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Graphs;

/// <summary>
/// A constant matrix as a node reads it: a stored tensor, and the nodes between that only transpose, cast or dequantise it.
/// </summary>
internal sealed class ConstantWeight
{
    private readonly TensorProto _root;
    private readonly (TensorProto Scale, TensorProto? Zero, int Axis)? _quantisation;

    private ConstantWeight(TensorProto root, string rootName, List<NodeProto> chain, bool isTransposed, (TensorProto, TensorProto?, int)? quantisation, TensorElementType compute)
    {
        (_root, RootName, Chain, IsTransposed, _quantisation, Compute) = (root, rootName, chain, isTransposed, quantisation, compute);
        (Rows, Columns) = ((int)root.Dims[isTransposed ? 1 : 0], (int)root.Dims[isTransposed ? 0 : 1]);
    }

    /// <summary>The name of the stored tensor's value.</summary>
    public string RootName { get; }

    /// <summary>The nodes from the stored tensor to the value that is read, in no particular order.</summary>
    public IReadOnlyList<NodeProto> Chain { get; }

    /// <summary>Whether the matrix is the transpose of the stored tensor.</summary>
    public bool IsTransposed { get; }

    /// <summary>The matrix's rows.</summary>
    public int Rows { get; }

    /// <summary>The matrix's columns.</summary>
    public int Columns { get; }

    /// <summary>The type in which it is read.</summary>
    public TensorElementType Compute { get; }

    /// <summary>The type to store another matrix like it in: that of the stored tensor, or where it is quantised that in which it is read.</summary>
    public TensorElementType Storage => ElementTypes.Floating(_root.DataType) ?? Compute;

    /// <summary>Two of equal keys are the same values in the same type, up to a transposition.</summary>
    public string Key => string.Join('\n', [RootName, $"{Compute}", .. Chain.Where(node => node.OpType == "DequantizeLinear").SelectMany(node => node.Input.Skip(1))]);

    /// <summary>Bytes of the stored tensor.</summary>
    public long StoredBytes => (long)Rows * Columns * ElementTypes.ByteSize(_root.DataType)!.Value;

    /// <summary>Follows a value back to its stored tensor.</summary>
    /// <param name="file">The file.</param>
    /// <param name="index">Its main graph.</param>
    /// <param name="value">The value, which depends on constants only.</param>
    /// <param name="reason">Why it is none that can be replaced.</param>
    public static ConstantWeight? Resolve(OnnxFile file, GraphIndex index, string value, out string reason)
    {
        var chain = new List<NodeProto>();
        bool transposed = false;
        int? type = null;
        (TensorProto, TensorProto?, int)? quantisation = null;
        string name = value;
        while (index.Constant(name) is null)
        {
            NodeProto? node = index.Producer(name);
            if (node is null || !GraphIndex.IsStandard(node) || chain.Count > 8)
            {
                reason = node is null ? "its weight is a sparse_initializer" : $"its weight is made by a {node.OpType} node";
                return null;
            }

            switch (node.OpType)
            {
                case "Identity":
                    break;
                case "Cast":
                    type ??= (int)GraphIndex.Integer(node, "to", 0);
                    break;
                case "Transpose" when node.Attribute.FirstOrDefault(attribute => attribute.Name == "perm") is not { } order || order.Ints is [1, 0]:
                    transposed = !transposed;
                    break;
                case "DequantizeLinear" when quantisation is null && node.Input.Count >= 2 && GraphIndex.Integer(node, "block_size", 0) == 0
                    && GraphIndex.Integer(node, "output_dtype", 0) == 0
                    && index.Constant(node.Input[1]) is { } scale && (node.Input.Count < 3 || node.Input[2].Length == 0 || index.Constant(node.Input[2]) is not null):
                    type ??= scale.DataType;
                    TensorProto? zero = node.Input.Count > 2 && node.Input[2].Length > 0 ? index.Constant(node.Input[2]) : null;
                    quantisation = (scale, zero, (int)GraphIndex.Integer(node, "axis", 1));
                    break;
                default:
                    reason = $"its weight is made by a {node.OpType} node";
                    return null;
            }

            chain.Add(node);
            name = node.Input[0];
        }

        TensorProto root = index.Constant(name)!;
        int read = type ?? root.DataType;
        reason = root.Dims.Count != 2
            ? $"its weight has the shape {ElementTypes.Shape(root.Dims)}, not that of a matrix"
            : ElementTypes.Floating(read) is null || (quantisation is null && ElementTypes.Floating(root.DataType) is null)
                ? $"its weight is of type {ElementTypes.Name(ElementTypes.Floating(read) is null ? read : root.DataType)}"
                : quantisation is not null && (DataType)root.DataType is not (DataType.Int8 or DataType.Uint8)
                    ? $"its weight is quantised to {ElementTypes.Name(root.DataType)}"
                    : string.Empty;
        if (reason.Length > 0)
        {
            return null;
        }

        TensorReader.CheckedCount(file, root);
        return new ConstantWeight(root, name, chain, transposed, quantisation, ElementTypes.Floating(read)!.Value);
    }

    /// <summary>The values, [rows, columns].</summary>
    public float[] Read(OnnxFile file)
    {
        float[] values = TensorReader.ReadFloats(file, _root);
        if (_quantisation is { } quantisation)
        {
            Dequantise(file, values, quantisation);
        }

        return IsTransposed ? Matrices.Transposed(values, (int)_root.Dims[0], (int)_root.Dims[1]) : values;
    }

    private void Dequantise(OnnxFile file, float[] values, (TensorProto Scale, TensorProto? Zero, int Axis) quantisation)
    {
        float[] scales = TensorReader.ReadFloats(file, quantisation.Scale);
        float[] zeros = quantisation.Zero is null ? [0] : TensorReader.ReadFloats(file, quantisation.Zero);
        int axis = quantisation.Axis < 0 ? quantisation.Axis + 2 : quantisation.Axis;
        int length = axis is 0 or 1 ? (int)_root.Dims[axis] : -1;
        if ((scales.Length != 1 && scales.Length != length) || (zeros.Length != 1 && zeros.Length != scales.Length))
        {
            throw new OnnxException(
                file.FilePath, "scales and zero points do not fit the quantised weight", ElementTypes.Describe(_root),
                $"one, or one for each index of axis {quantisation.Axis}", $"{scales.Length} scales and {zeros.Length} zero points for {ElementTypes.Shape(_root.Dims)}");
        }

        int columns = (int)_root.Dims[1];
        for (int i = 0; i < values.Length; i++)
        {
            int place = axis == 0 ? i / columns : i % columns;
            values[i] = (values[i] - zeros[zeros.Length == 1 ? 0 : place]) * scales[scales.Length == 1 ? 0 : place];
        }
    }
}
