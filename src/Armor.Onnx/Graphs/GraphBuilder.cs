using System.Globalization;
using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Google.Protobuf;
using AttributeType = Armor.Onnx.Proto.AttributeProto.Types.AttributeType;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Graphs;

/// <summary>Adds nodes and tensors to a graph, with names that it does not have yet. Nodes go to the end, or where <see cref="Insert"/> says.</summary>
internal sealed class GraphBuilder
{
    private readonly GraphProto _graph;
    private readonly HashSet<string> _names;
    private readonly Dictionary<string, string> _integers = new(StringComparer.Ordinal);
    private IList<NodeProto> _nodes;

    private readonly Action<TensorProto>? _stored;

    /// <param name="graph">The graph to add to.</param>
    /// <param name="stored">Told of every new constant, to write its data away.</param>
    public GraphBuilder(GraphProto graph, Action<TensorProto>? stored = null)
    {
        _graph = graph;
        _stored = stored;
        _nodes = graph.Node;
        _names = [.. TensorVisitor.Graphs(graph).SelectMany(Names)];
    }

    /// <summary>A whole model of one graph.</summary>
    /// <param name="graph">Its graph.</param>
    /// <param name="opset">The version of the operators.</param>
    public static ModelProto Model(GraphProto graph, int opset = 17) => new()
    {
        IrVersion = 8,
        ProducerName = "Armor.Core",
        Graph = graph,
        OpsetImport = { new OperatorSetIdProto { Version = opset } },
    };

    /// <summary>Sends the nodes that follow to a list of their own, for the caller to put in their place.</summary>
    public void Insert(IList<NodeProto> nodes) => _nodes = nodes;

    /// <summary>A name like the given one that nothing in the graph has.</summary>
    public string Unique(string name)
    {
        string unique = name;
        for (int i = 1; !_names.Add(unique); i++)
        {
            unique = string.Create(CultureInfo.InvariantCulture, $"{name}_{i}");
        }

        return unique;
    }

    /// <summary>Adds an input of the graph; a size is a number or a name.</summary>
    public string Input(string name, DataType type, params object[] shape)
    {
        _graph.Input.Add(Value(name, type, shape));
        _names.Add(name);
        return name;
    }

    /// <summary>Makes a value an output of the graph, under the value's name.</summary>
    public void Output(string name, DataType type, params object[] shape) => _graph.Output.Add(Value(name, type, shape));

    /// <summary>Adds a node of one output.</summary>
    /// <param name="operation">The operator, of the default domain.</param>
    /// <param name="inputs">Values; an empty name is an input left out.</param>
    /// <param name="name">The name of output and node; made unique.</param>
    /// <param name="attributes">See <see cref="Attribute(string, object)"/>.</param>
    /// <returns>The output.</returns>
    public string Node(string operation, string[] inputs, string? name = null, params AttributeProto[] attributes)
    {
        string output = Unique(name ?? operation);
        NodeTo(operation, inputs, output, attributes);
        return output;
    }

    /// <summary>Adds a node whose output has a name that is taken: one that the graph expects.</summary>
    public void NodeTo(string operation, string[] inputs, string output, params AttributeProto[] attributes)
    {
        _names.Add(output);
        var node = new NodeProto { OpType = operation, Name = output };
        node.Input.AddRange(inputs);
        node.Output.Add(output);
        node.Attribute.AddRange(attributes);
        _nodes.Add(node);
    }

    /// <summary>Adds a node as it is.</summary>
    public void Keep(NodeProto node) => _nodes.Add(node);

    /// <summary>Adds a node of several outputs.</summary>
    public string[] Nodes(string operation, string[] inputs, string[] outputs, params AttributeProto[] attributes)
    {
        var node = new NodeProto { OpType = operation };
        node.Input.AddRange(inputs);
        node.Output.AddRange(outputs.Select(Unique));
        node.Name = node.Output[0];
        node.Attribute.AddRange(attributes);
        _nodes.Add(node);
        return [.. node.Output];
    }

    /// <summary>Adds a constant of floats, rounded to a stored type.</summary>
    /// <returns>Its name, made unique.</returns>
    public string Floats(string name, ReadOnlySpan<float> values, TensorElementType type, params long[] shape)
    {
        var bytes = new byte[values.Length * (long)type.ByteSize()];
        FloatBytes.FromFloat32(type, values, bytes);
        return Tensor(name, ElementTypes.Of(type), bytes, shape);
    }

    /// <summary>Adds a constant of stored bytes, which are taken over.</summary>
    public string Tensor(string name, DataType type, byte[] bytes, params long[] shape)
    {
        var tensor = new TensorProto { Name = Unique(name), DataType = (int)type, RawData = UnsafeByteOperations.UnsafeWrap(bytes) };
        tensor.Dims.AddRange(shape);
        _graph.Initializer.Add(tensor);
        _stored?.Invoke(tensor);
        return tensor.Name;
    }

    /// <summary>A scalar.</summary>
    public string Scalar(string name, float value, TensorElementType type = TensorElementType.Float32) => Floats(name, [value], type);

    /// <summary>A list of int64, such as a shape; equal ones are one tensor.</summary>
    public string Integers(params long[] values) => Shared(values, [values.Length]);

    /// <summary>An int64 scalar; equal ones are one tensor.</summary>
    public string Integer(long value) => Shared([value], []);

    /// <summary>An attribute: a whole number, a list of them, a float or a text.</summary>
    public static AttributeProto Attribute(string name, object value)
    {
        var attribute = new AttributeProto { Name = name };
        switch (value)
        {
            case int number:
                (attribute.Type, attribute.I) = (AttributeType.Int, number);
                break;
            case float number:
                (attribute.Type, attribute.F) = (AttributeType.Float, number);
                break;
            case string text:
                (attribute.Type, attribute.S) = (AttributeType.String, ByteString.CopyFromUtf8(text));
                break;
            case long[] numbers:
                attribute.Type = AttributeType.Ints;
                attribute.Ints.AddRange(numbers);
                break;
            default:
                throw new ArgumentException($"No attribute is made of {value.GetType().Name}.", nameof(value));
        }

        return attribute;
    }

    /// <summary>A tensor of a name, type and shape; a size is a number or a name.</summary>
    public static ValueInfoProto Value(string name, DataType type, params object[] shape)
    {
        var sizes = new TensorShapeProto();
        sizes.Dim.AddRange(shape.Select(size => size is string parameter
            ? new TensorShapeProto.Types.Dimension { DimParam = parameter }
            : new TensorShapeProto.Types.Dimension { DimValue = Convert.ToInt64(size, CultureInfo.InvariantCulture) }));
        return new ValueInfoProto
        {
            Name = name,
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = sizes } },
        };
    }

    private string Shared(long[] values, long[] shape)
    {
        string key = $"{shape.Length}:{string.Join(',', values)}";
        if (!_integers.TryGetValue(key, out string? name))
        {
            var bytes = new byte[values.Length * sizeof(long)];
            Buffer.BlockCopy(values, 0, bytes, 0, bytes.Length);
            name = Tensor($"integers_{string.Join('_', values).Replace('-', 'm')}", DataType.Int64, bytes, shape);
            _integers.Add(key, name);
        }

        return name;
    }

    private static IEnumerable<string> Names(GraphProto graph) => graph.Node.SelectMany(node => node.Input.Concat(node.Output).Append(node.Name))
        .Concat(graph.Initializer.Select(tensor => tensor.Name))
        .Concat(graph.SparseInitializer.Select(tensor => tensor.Values?.Name ?? string.Empty))
        .Concat(graph.Input.Concat(graph.Output).Concat(graph.ValueInfo).Select(value => value.Name));
}
