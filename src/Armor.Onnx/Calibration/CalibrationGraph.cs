using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Google.Protobuf;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Calibration;

/// <summary>A copy of a model whose outputs are some of its values, in float32, and nothing that is not needed for them.</summary>
internal static class CalibrationGraph
{
    /// <summary>The name of the output of a value.</summary>
    public static string OutputOf(int index) => FormattableString.Invariant($"armor.collected.{index}");

    /// <summary>Makes the copy.</summary>
    /// <param name="model">The model.</param>
    /// <param name="values">The values to collect.</param>
    public static ModelProto Create(ModelProto model, IReadOnlyList<string> values)
    {
        ModelProto copy = model.Clone();
        GraphProto graph = copy.Graph;
        graph.Output.Clear();
        for (int i = 0; i < values.Count; i++)
        {
            graph.Node.Add(new NodeProto
            {
                OpType = "Cast",
                Name = OutputOf(i),
                Input = { values[i] },
                Output = { OutputOf(i) },
                Attribute = { GraphBuilder.Attribute("to", (int)DataType.Float) },
            });
            graph.Output.Add(new ValueInfoProto { Name = OutputOf(i) });
        }

        DropUnused(graph);
        return copy;
    }

    // Nodes are in topological order: backwards, each is needed or not.
    private static void DropUnused(GraphProto graph)
    {
        var needed = graph.Output.Select(output => output.Name).ToHashSet(StringComparer.Ordinal);
        var kept = new Stack<NodeProto>();
        foreach (NodeProto node in graph.Node.Reverse())
        {
            if (node.Output.Any(needed.Contains))
            {
                kept.Push(node);
                needed.UnionWith(GraphIndex.InputsOf(node));
            }
        }

        Replace(graph.Node, kept);
        Replace(graph.Initializer, [.. graph.Initializer.Where(tensor => needed.Contains(tensor.Name))]);
        Replace(graph.SparseInitializer, [.. graph.SparseInitializer.Where(sparse => needed.Contains(sparse.Values?.Name ?? string.Empty))]);
        Replace(graph.ValueInfo, [.. graph.ValueInfo.Where(value => needed.Contains(value.Name))]);

        static void Replace<T>(IList<T> list, IEnumerable<T> items)
        {
            T[] all = [.. items];
            list.Clear();
            foreach (T item in all)
            {
                list.Add(item);
            }
        }
    }

    /// <summary>The inputs that the copy still reads: the others of the model may stay away.</summary>
    public static HashSet<string> InputsRead(ModelProto copy) => copy.Graph.Node.SelectMany(GraphIndex.InputsOf).ToHashSet(StringComparer.Ordinal);
}
