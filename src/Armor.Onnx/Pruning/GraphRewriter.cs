using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Runtime.Factorization;

namespace Armor.Onnx.Pruning;

/// <summary>Puts products of factors in the place of products of weights, and drops what nothing reads afterwards.</summary>
/// <param name="graph">The graph to change.</param>
/// <param name="stored">Told of every new constant, to write its data away; null keeps all in memory.</param>
internal sealed class GraphRewriter(GraphProto graph, Action<TensorProto>? stored)
{
    private readonly GraphBuilder _builder = new(graph, stored);
    private readonly Dictionary<NodeProto, List<NodeProto>> _replacements = new(ReferenceEqualityComparer.Instance);
    private readonly List<NodeProto> _first = [];
    private readonly HashSet<string> _released = new(StringComparer.Ordinal);

    /// <summary>Replaces all products of one weight by those of its factors.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="layer">The factors, as they are once rounded to the storage type.</param>
    /// <param name="ranks">Dimensions of each value that is multiplied.</param>
    /// <param name="format">How the core is stored.</param>
    public void Replace(PrunableWeight weight, ArmorLayer layer, IReadOnlyDictionary<string, int> ranks, SparseCoreFormat format)
    {
        ConstantWeight constant = weight.Constant;
        bool isPlain = layer is { InputWrapper: null, OutputWrapper: null };

        // A plain core can take the weight's own place, in its own direction.
        foreach (var group in weight.Uses.GroupBy(use => isPlain && use.HasOutputsFirst))
        {
            _builder.Insert(_first);
            ArmorWeight factors = ArmorWeight.Add(
                _builder, graph, layer, weight.Name, constant.Storage, constant.Compute, format, outputsFirst: group.Key);
            foreach (LinearUse use in group)
            {
                var nodes = new List<NodeProto>();
                _builder.Insert(nodes);
                Multiply(use, factors, isPlain, ranks[use.Input]);
                _replacements.Add(use.Node, nodes);
                _released.Add(use.Node.Input[1]);
            }
        }
    }

    /// <summary>Puts another dense matrix, the product of factors, in the place of a weight: for calibration on what is pruned so far.</summary>
    /// <param name="weight">The weight.</param>
    /// <param name="dense">Ŵ, [d_out, d_in].</param>
    public void ReplaceDense(PrunableWeight weight, float[] dense)
    {
        foreach (var group in weight.Uses.GroupBy(use => use.HasOutputsFirst))
        {
            string constant = group.Key
                ? _builder.Floats(weight.Name + ".dense", dense, weight.Constant.Compute, weight.Rows, weight.Columns)
                : _builder.Floats(weight.Name + ".dense", Matrices.Transposed(dense, weight.Rows, weight.Columns), weight.Constant.Compute, weight.Columns, weight.Rows);
            foreach (LinearUse use in group)
            {
                _released.Add(use.Node.Input[1]);
                use.Node.Input[1] = constant;
            }
        }
    }

    /// <summary>Puts the new nodes in and takes out what only the old ones read.</summary>
    public void Finish()
    {
        NodeProto[] nodes = [.. _first, .. graph.Node.SelectMany(node => _replacements.TryGetValue(node, out List<NodeProto>? news) ? news : [node])];
        graph.Node.Clear();
        graph.Node.AddRange(nodes);
        Drop();
    }

    private void Multiply(LinearUse use, ArmorWeight factors, bool isPlain, int rank)
    {
        if (isPlain)
        {
            NodeProto node = use.Node.Clone();
            node.Input[1] = factors.Core;
            _builder.Keep(node);
            return;
        }

        string rows = use.TransposesInput
            ? _builder.Node("Transpose", [use.Input], use.Output + "_rows", GraphBuilder.Attribute("perm", new long[] { 1, 0 }))
            : use.Input;
        float alpha = use.IsGemm ? GraphIndex.Float(use.Node, "alpha", 1) : 1;
        float beta = use.IsGemm ? GraphIndex.Float(use.Node, "beta", 1) : 1;
        string? bias = use.IsGemm && use.Node.Input.Count > 2 && use.Node.Input[2].Length > 0 ? use.Node.Input[2] : null;
        if (alpha == 1 && bias is null)
        {
            factors.Multiply(rows, rank, use.Output);
            return;
        }

        string product = factors.Multiply(rows, rank);
        if (alpha != 1)
        {
            string[] scaled = [product, _builder.Scalar(use.Output + "_alpha", alpha, use.Weight.Compute)];
            if (bias is null)
            {
                _builder.NodeTo("Mul", scaled, use.Output);
                return;
            }

            product = _builder.Node("Mul", scaled, use.Output + "_scaled");
        }

        string added = beta == 1 ? bias! : _builder.Node("Mul", [bias!, _builder.Scalar(use.Output + "_beta", beta, use.Weight.Compute)], use.Output + "_bias");
        _builder.NodeTo("Add", [product, added], use.Output);
    }

    // Weights, and nodes that did nothing but bring them, from the released values backwards.
    private void Drop()
    {
        var read = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string name in graph.Node.SelectMany(GraphIndex.InputsOf).Concat(graph.Output.Select(output => output.Name)))
        {
            read[name] = read.GetValueOrDefault(name) + 1;
        }

        Dictionary<string, NodeProto> producers = graph.Node.SelectMany(node => node.Output.Select(output => (output, node)))
            .DistinctBy(pair => pair.output).ToDictionary(pair => pair.output, pair => pair.node, StringComparer.Ordinal);
        var gone = new HashSet<NodeProto>(ReferenceEqualityComparer.Instance);
        var dead = new HashSet<string>(StringComparer.Ordinal);
        var open = new Stack<string>(_released);
        while (open.TryPop(out string? name))
        {
            if (read.GetValueOrDefault(name) > 0 || !dead.Add(name))
            {
                continue;
            }

            if (producers.TryGetValue(name, out NodeProto? producer) && producer.Output.All(output => read.GetValueOrDefault(output) == 0) && gone.Add(producer))
            {
                foreach (string input in GraphIndex.InputsOf(producer))
                {
                    read[input]--;
                    open.Push(input);
                }
            }
        }

        Remove(graph.Node, gone.Contains);
        Remove(graph.Initializer, tensor => dead.Contains(tensor.Name));
        Remove(graph.Input, input => dead.Contains(input.Name)); // initializers of old models are inputs as well
        Remove(graph.ValueInfo, value => dead.Contains(value.Name));
    }

    private static void Remove<T>(IList<T> list, Func<T, bool> isGone)
    {
        T[] kept = [.. list.Where(item => !isGone(item))];
        if (kept.Length < list.Count)
        {
            list.Clear();
            foreach (T item in kept)
            {
                list.Add(item);
            }
        }
    }
}
