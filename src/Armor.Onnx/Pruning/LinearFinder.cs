using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;

namespace Armor.Onnx.Pruning;

/// <summary>Finds the weights of a model that can be pruned, and says of the others why not.</summary>
internal sealed class LinearFinder
{
    // What may lie between a head's product and the graph's output.
    private static readonly HashSet<string> HeadOperations = new(StringComparer.Ordinal)
    {
        "Add", "Sub", "Mul", "Div", "Cast", "Identity", "Tanh", "Sigmoid", "Softmax", "LogSoftmax",
    };

    // Products of quantised or packed weights, which hold no floats to prune.
    private static readonly HashSet<string> OtherProducts = new(StringComparer.Ordinal)
    {
        "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "MatMulBnb4", "FusedMatMul", "FusedGemm",
    };

    private readonly OnnxFile _file;
    private readonly OnnxPrunerOptions _options;
    private readonly GraphIndex _index;
    private readonly List<SkippedNode> _skipped = [];
    private readonly Dictionary<NodeProto, LinearUse> _uses = new(ReferenceEqualityComparer.Instance);

    private LinearFinder(OnnxFile file, OnnxPrunerOptions options)
    {
        _file = file;
        _options = options;
        _index = new GraphIndex(file.Graph);
    }

    /// <summary>Looks through a model.</summary>
    /// <returns>The weights in the order of the graph, and the nodes that were left out.</returns>
    public static (IReadOnlyList<PrunableWeight> Weights, IReadOnlyList<SkippedNode> Skipped) Find(OnnxFile file, OnnxPrunerOptions options)
    {
        var finder = new LinearFinder(file, options);
        IReadOnlyList<PrunableWeight> weights = finder.Find();
        return (weights, finder._skipped);
    }

    private List<PrunableWeight> Find()
    {
        foreach (NodeProto node in _file.Graph.Node)
        {
            Look(node);
            foreach (NodeProto inner in TensorVisitor.Inner(node).SelectMany(graph => graph.Node).Where(IsProduct))
            {
                Skip(inner, $"it lies in a graph inside the {node.OpType} node '{node.Name}'");
            }
        }

        foreach (FunctionProto function in _file.Model.Functions)
        {
            foreach (NodeProto inner in function.Node.Where(IsProduct))
            {
                Skip(inner, $"it lies in the function '{function.Name}'");
            }
        }

        LeaveWhatIsReadElsewhere();
        Dictionary<NodeProto, int> levels = Levels();
        return
        [
            .. _uses.Values.GroupBy(use => (use.Weight.Key, use.IsAsStored)).Select(group =>
                new PrunableWeight(NameOf(group.First()), [.. group], group.Min(use => levels[use.Node]))),
        ];
    }

    private static bool IsProduct(NodeProto node) => node.OpType is "MatMul" or "Gemm" && GraphIndex.IsStandard(node);

    private void Look(NodeProto node)
    {
        if (OtherProducts.Contains(node.OpType))
        {
            Skip(node, $"{node.OpType} has no plain weight");
            return;
        }

        if (!IsProduct(node) || node.Input.Count < 2)
        {
            return;
        }

        (bool left, bool right) = (_index.IsConstant(node.Input[0]), _index.IsConstant(node.Input[1]));
        if (left == right)
        {
            return; // attention's products have no weight; one of constants alone is one itself
        }

        if (left)
        {
            Skip(node, "its weight is the left operand");
            return;
        }

        if (ConstantWeight.Resolve(_file, _index, node.Input[1], out string reason) is not { } weight)
        {
            Skip(node, reason);
            return;
        }

        var use = new LinearUse(node, weight);
        int group = _options.Pruner.Pattern.Group;
        if (use.Rows == 0 || use.Columns == 0 || use.Columns % group != 0)
        {
            Skip(node, $"its {use.Columns} inputs are no multiple of {group}");
        }
        else if (_options.Skip?.Invoke(NameOf(use)) == true)
        {
            Skip(node, "the options leave it out");
        }
        else if (!_options.PruneHeads && IsHead(node))
        {
            Skip(node, "it is a head: its product is an output of the model");
        }
        else
        {
            _uses.Add(node, use);
        }
    }

    // A weight that another kind of node reads as well, such as an embedding that is also the head, would have to stay in the file besides its factors.
    private void LeaveWhatIsReadElsewhere()
    {
        foreach (var group in _uses.Values.GroupBy(use => use.Weight.RootName).ToArray())
        {
            HashSet<NodeProto> known = new(group.SelectMany(use => use.Weight.Chain.Append(use.Node)), ReferenceEqualityComparer.Instance);
            string[] values = [group.Key, .. group.SelectMany(use => use.Weight.Chain.SelectMany(node => node.Output))];
            NodeProto? other = values.SelectMany(_index.Consumers).FirstOrDefault(node => !known.Contains(node));
            string? reason = other is not null
                ? $"its weight is also read by the {other.OpType} node '{other.Name}'"
                : values.Any(_index.IsOutput) ? "its weight is an output of the model" : null;
            if (reason is not null)
            {
                foreach (LinearUse use in group)
                {
                    _uses.Remove(use.Node);
                    Skip(use.Node, reason);
                }
            }
        }
    }

    private bool IsHead(NodeProto node)
    {
        var open = new Stack<string>([node.Output[0]]);
        bool reaches = false;
        int steps = 0;
        while (open.TryPop(out string? value))
        {
            bool isOutput = _index.IsOutput(value);
            IReadOnlyList<NodeProto> consumers = _index.Consumers(value);
            reaches |= isOutput;
            if ((!isOutput && consumers.Count == 0) || ++steps > 32)
            {
                return false;
            }

            foreach (NodeProto consumer in consumers)
            {
                if (!HeadOperations.Contains(consumer.OpType) || !consumer.Input.All(input => input == value || input.Length == 0 || _index.IsConstant(input)))
                {
                    return false;
                }

                open.Push(consumer.Output[0]);
            }
        }

        return reaches;
    }

    // How many prunable linears lie before each, on the longest way; nodes are in topological order.
    private Dictionary<NodeProto, int> Levels()
    {
        var values = new Dictionary<string, int>(StringComparer.Ordinal);
        var levels = new Dictionary<NodeProto, int>(ReferenceEqualityComparer.Instance);
        foreach (NodeProto node in _file.Graph.Node)
        {
            int level = GraphIndex.InputsOf(node).Select(input => values.GetValueOrDefault(input)).DefaultIfEmpty(0).Max();
            if (_uses.ContainsKey(node))
            {
                levels[node] = level++;
            }

            foreach (string output in node.Output)
            {
                values[output] = level;
            }
        }

        return levels;
    }

    // Exporters number weights that they have folded; the node's name then says more.
    private static string NameOf(LinearUse use) => OnnxException.Printable(
        use.Node.Name.Length > 0 && use.Weight.RootName.StartsWith("onnx::", StringComparison.Ordinal) ? use.Node.Name : use.Weight.RootName);

    private void Skip(NodeProto node, string reason) => _skipped.Add(SkippedNode.Of(node, reason));
}
