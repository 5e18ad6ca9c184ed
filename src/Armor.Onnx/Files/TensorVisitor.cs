using Armor.Onnx.Proto;

namespace Armor.Onnx.Files;

/// <summary>Walks through everything in a model that holds tensors.</summary>
internal static class TensorVisitor
{
    /// <summary>Every tensor: initializers, sparse ones' parts, and those in attributes, of all graphs and functions.</summary>
    public static IEnumerable<TensorProto> Of(ModelProto model) =>
        Of(model.Graph).Concat(model.Functions.SelectMany(function => function.Node).SelectMany(Of));

    /// <summary>Every graph, the main one first and each before those inside its nodes.</summary>
    public static IEnumerable<GraphProto> Graphs(GraphProto graph) => graph.Node.SelectMany(Inner).Prepend(graph);

    /// <summary>The graphs inside a node, at any depth.</summary>
    public static IEnumerable<GraphProto> Inner(NodeProto node) =>
        node.Attribute.SelectMany(attribute => attribute.G is null ? attribute.Graphs : attribute.Graphs.Append(attribute.G)).SelectMany(Graphs);

    private static IEnumerable<TensorProto> Of(GraphProto graph) =>
        graph.Initializer.Concat(graph.SparseInitializer.SelectMany(Of)).Concat(graph.Node.SelectMany(Of));

    private static IEnumerable<TensorProto> Of(NodeProto node) => node.Attribute.SelectMany(Of);

    private static IEnumerable<TensorProto> Of(AttributeProto attribute)
    {
        IEnumerable<TensorProto> tensors = attribute.Tensors;
        IEnumerable<SparseTensorProto> sparse = attribute.SparseTensors;
        IEnumerable<GraphProto> graphs = attribute.Graphs;
        return (attribute.T is null ? tensors : tensors.Append(attribute.T))
            .Concat((attribute.SparseTensor is null ? sparse : sparse.Append(attribute.SparseTensor)).SelectMany(Of))
            .Concat((attribute.G is null ? graphs : graphs.Append(attribute.G)).SelectMany(Of));
    }

    private static IEnumerable<TensorProto> Of(SparseTensorProto sparse)
    {
        if (sparse.Values is not null)
        {
            yield return sparse.Values;
        }

        if (sparse.Indices is not null)
        {
            yield return sparse.Indices;
        }
    }
}
