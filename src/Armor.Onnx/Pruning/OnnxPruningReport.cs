using Armor.Onnx.Proto;

namespace Armor.Onnx.Pruning;

/// <summary>What pruning an ONNX model came to.</summary>
/// <param name="Linears">Every pruned weight, in the order in which the graph uses them.</param>
/// <param name="Skipped">Products of a constant weight that were left as they are, and why.</param>
/// <param name="Seconds">Wall time.</param>
public sealed record OnnxPruningReport(IReadOnlyList<OnnxLinearReport> Linears, IReadOnlyList<SkippedNode> Skipped, double Seconds)
{
    /// <summary>Bytes of the pruned weights' factors in the file; cores with their zeros, or as sparse initializers.</summary>
    public long Bytes => Linears.Sum(linear => linear.Bytes);

    /// <summary>Bytes that the same weights had in the source.</summary>
    public long DenseBytes => Linears.Sum(linear => linear.DenseBytes);

    /// <summary>The linears with <see cref="OnnxLinearReport.Notes"/>.</summary>
    public IEnumerable<OnnxLinearReport> Noted => Linears.Where(linear => linear.Notes.Count > 0);
}

/// <summary>What pruning one weight came to.</summary>
public sealed record OnnxLinearReport
{
    /// <summary>The weight's name in the file, or where that is a mere number that of its node.</summary>
    public required string Name { get; init; }

    /// <summary>The names of the nodes that multiplied by it.</summary>
    public required IReadOnlyList<string> Nodes { get; init; }

    /// <summary>d_out.</summary>
    public required int Rows { get; init; }

    /// <summary>d_in.</summary>
    public required int Columns { get; init; }

    /// <summary>Block size of the output wrapper A; 1 where A is the identity.</summary>
    public required int OutputBlock { get; init; }

    /// <summary>Block size of the input wrapper B; 1 where B is the identity.</summary>
    public required int InputBlock { get; init; }

    /// <summary>The loss that was reached, relative to that of an all-zero weight.</summary>
    public required double Loss { get; init; }

    /// <summary>The loss that the optimisation started from.</summary>
    public required double StartLoss { get; init; }

    /// <summary>Wall time of the optimisation.</summary>
    public required double Seconds { get; init; }

    /// <summary>Bytes of the factors in the file.</summary>
    public required long Bytes { get; init; }

    /// <summary>Bytes of the weight in the source.</summary>
    public required long DenseBytes { get; init; }

    /// <summary>Anything out of the ordinary, such as raised damping; as a rule empty.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <summary>A product of a constant weight that was left as it is.</summary>
/// <param name="Node">The node's name, or that of its output.</param>
/// <param name="Operation">Its operator.</param>
/// <param name="Reason">Why, as a clause about the node.</param>
public sealed record SkippedNode(string Node, string Operation, string Reason)
{
    /// <summary>The name that reports give a node: names of a file may be empty, or hold anything.</summary>
    internal static string NameOf(NodeProto node) => OnnxException.Printable(node.Name.Length > 0 ? node.Name : node.Output.FirstOrDefault() ?? node.OpType);

    internal static SkippedNode Of(NodeProto node, string reason) => new(NameOf(node), OnnxException.Printable(node.OpType), OnnxException.Printable(reason));
}
