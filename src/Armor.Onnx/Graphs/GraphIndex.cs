using Armor.Onnx.Files;
using Armor.Onnx.Proto;

namespace Armor.Onnx.Graphs;

/// <summary>Who makes and who reads each value of a main graph. A snapshot: it does not follow changes.</summary>
internal sealed class GraphIndex
{
    private readonly Dictionary<string, NodeProto> _producers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<NodeProto>> _consumers = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorProto> _constants = new(StringComparer.Ordinal);
    private readonly HashSet<string> _outputs;
    private readonly HashSet<string> _fixed = new(StringComparer.Ordinal);

    public GraphIndex(GraphProto graph)
    {
        _outputs = graph.Output.Select(output => output.Name).ToHashSet(StringComparer.Ordinal);
        foreach (TensorProto tensor in graph.Initializer)
        {
            _constants[tensor.Name] = tensor;
            _fixed.Add(tensor.Name);
        }

        _fixed.UnionWith(graph.SparseInitializer.Select(sparse => sparse.Values?.Name ?? string.Empty));

        foreach (NodeProto node in graph.Node)
        {
            foreach (string output in node.Output)
            {
                _producers[output] = node;
            }

            if (node is { OpType: "Constant", Output.Count: 1 } && IsStandard(node) && node.Attribute.FirstOrDefault(attribute => attribute.Name == "value")?.T is { } value)
            {
                _constants[node.Output[0]] = value;
            }

            foreach (string input in InputsOf(node))
            {
                if (!_consumers.TryGetValue(input, out List<NodeProto>? consumers))
                {
                    _consumers.Add(input, consumers = []);
                }

                consumers.Add(node);
            }

            // Nodes are in topological order. One without inputs that is no constant draws random numbers.
            if (node.OpType == "Constant" || (InputsOf(node).Any() && InputsOf(node).All(_fixed.Contains)))
            {
                _fixed.UnionWith(node.Output);
            }
        }
    }

    /// <summary>Whether a node is of the standard's default domain.</summary>
    public static bool IsStandard(NodeProto node) => node.Domain is "" or "ai.onnx";

    /// <summary>All values that a node reads: its inputs, and what graphs inside it take from around them.</summary>
    public static IEnumerable<string> InputsOf(NodeProto node) => node.Input
        .Concat(TensorVisitor.Inner(node).SelectMany(graph => graph.Node.SelectMany(inner => inner.Input).Concat(graph.Output.Select(output => output.Name))))
        .Where(name => name.Length > 0);

    /// <summary>An attribute's whole number.</summary>
    public static long Integer(NodeProto node, string name, long standard) =>
        node.Attribute.FirstOrDefault(attribute => attribute.Name == name)?.I ?? standard;

    /// <summary>An attribute's float.</summary>
    public static float Float(NodeProto node, string name, float standard) =>
        node.Attribute.FirstOrDefault(attribute => attribute.Name == name)?.F ?? standard;

    /// <summary>The node that makes a value; null for inputs and initializers.</summary>
    public NodeProto? Producer(string value) => _producers.GetValueOrDefault(value);

    /// <summary>The nodes that read a value.</summary>
    public IReadOnlyList<NodeProto> Consumers(string value) => _consumers.TryGetValue(value, out List<NodeProto>? nodes) ? nodes : [];

    /// <summary>The tensor behind an initializer or a Constant node; null for anything else.</summary>
    public TensorProto? Constant(string value) => _constants.GetValueOrDefault(value);

    /// <summary>Whether a value is an output of the graph.</summary>
    public bool IsOutput(string value) => _outputs.Contains(value);

    /// <summary>Whether a value depends on constants only.</summary>
    public bool IsConstant(string value) => _fixed.Contains(value);
}
