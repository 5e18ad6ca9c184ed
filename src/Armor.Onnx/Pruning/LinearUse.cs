using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;

namespace Armor.Onnx.Pruning;

/// <summary>One node that multiplies rows by a constant weight.</summary>
/// <param name="Node">A MatMul, or a Gemm.</param>
/// <param name="Weight">Its second input.</param>
internal sealed record LinearUse(NodeProto Node, ConstantWeight Weight)
{
    /// <summary>What is multiplied: [..., d_in], or [d_in, rows] where <see cref="TransposesInput"/>.</summary>
    public string Input => Node.Input[0];

    /// <summary>The product.</summary>
    public string Output => Node.Output[0];

    /// <summary>Whether it is alpha·x·w + beta·c.</summary>
    public bool IsGemm => Node.OpType == "Gemm";

    /// <summary>Whether the input is transposed first.</summary>
    public bool TransposesInput => IsGemm && GraphIndex.Integer(Node, "transA", 0) != 0;

    /// <summary>Whether the node reads the weight as [d_out, d_in].</summary>
    public bool HasOutputsFirst => IsGemm && GraphIndex.Integer(Node, "transB", 0) != 0;

    /// <summary>d_in.</summary>
    public int Columns => HasOutputsFirst ? Weight.Columns : Weight.Rows;

    /// <summary>d_out.</summary>
    public int Rows => HasOutputsFirst ? Weight.Rows : Weight.Columns;

    /// <summary>Whether W [d_out, d_in] is the stored tensor as it lies; else it is its transpose.</summary>
    public bool IsAsStored => Weight.IsTransposed != HasOutputsFirst;
}

/// <summary>One weight to prune, and all the nodes that multiply by it.</summary>
/// <param name="Name">For reports and seeds.</param>
/// <param name="Uses">At least one; all read the same stored tensor in the same direction and type.</param>
/// <param name="Level">How many prunable linears lie before the first use on the longest way to it.</param>
internal sealed record PrunableWeight(string Name, IReadOnlyList<LinearUse> Uses, int Level)
{
    /// <summary>d_out.</summary>
    public int Rows => Uses[0].Rows;

    /// <summary>d_in.</summary>
    public int Columns => Uses[0].Columns;

    /// <summary>The weight as a constant.</summary>
    public ConstantWeight Constant => Uses[0].Weight;

    /// <summary>W, [d_out, d_in].</summary>
    public float[] Read(Files.OnnxFile file)
    {
        float[] values = Constant.Read(file);
        return Uses[0].HasOutputsFirst ? values : Matrices.Transposed(values, Constant.Rows, Constant.Columns);
    }
}
