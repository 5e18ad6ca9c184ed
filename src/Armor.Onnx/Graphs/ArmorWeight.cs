using System.Runtime.InteropServices;
using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Google.Protobuf;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Graphs;

/// <summary>
/// A factorised weight Ŵ = A·S·B as constants of a graph, and its product with rows x as nodes: y = x·Bᵀ·Sᵀ·Aᵀ. A block-diagonal factor is a batch of
/// matrices [blocks, b, b]: the rows are cut into blocks, the blocks put before the rows, multiplied, and all put back.
/// </summary>
internal sealed class ArmorWeight
{
    private readonly GraphBuilder _builder;
    private readonly ArmorLayer _layer;
    private readonly string _name;
    private readonly string? _input;
    private readonly string? _output;

    private ArmorWeight(GraphBuilder builder, ArmorLayer layer, string name, string core, string? input, string? output) =>
        (_builder, _layer, _name, Core, _input, _output) = (builder, layer, name, core, input, output);

    /// <summary>S as a constant: Sᵀ [d_in, d_out], or S where the weight was made so.</summary>
    public string Core { get; }

    /// <summary>Whether the core is all there is.</summary>
    public bool IsPlain => _layer is { InputWrapper: null, OutputWrapper: null };

    /// <summary>Adds the factors to a graph.</summary>
    /// <param name="builder">Of the graph.</param>
    /// <param name="graph">The graph.</param>
    /// <param name="layer">The factors, as they are once rounded to the storage type.</param>
    /// <param name="name">What the constants' names begin with.</param>
    /// <param name="storage">The type of the constants.</param>
    /// <param name="compute">The type that the graph multiplies in; constants of another one are cast.</param>
    /// <param name="format">How the core is stored.</param>
    /// <param name="outputsFirst">Whether the core is stored as [d_out, d_in]: for a node that transposes it.</param>
    public static ArmorWeight Add(
        GraphBuilder builder,
        GraphProto graph,
        ArmorLayer layer,
        string name,
        TensorElementType storage,
        TensorElementType compute,
        SparseCoreFormat format,
        bool outputsFirst = false)
    {
        string? input = layer.InputWrapper is { } b ? AddBlocks(b, name + ".armor_b") : null;
        string core = Cast(format == SparseCoreFormat.Dense ? AddDense() : AddSparse(), name + ".armor_s");
        string? output = layer.OutputWrapper is { } a ? AddBlocks(a, name + ".armor_a") : null;
        return new ArmorWeight(builder, layer, name, core, input, output);

        // Blocks transposed, since rows are multiplied from the left.
        string AddBlocks(BlockDiagonalMatrix wrapper, string part)
        {
            int size = wrapper.BlockSize;
            var values = new float[wrapper.Values.Length];
            for (int block = 0; block < wrapper.BlockCount; block++)
            {
                Matrices.Transpose(wrapper.Block(block), values.AsSpan(block * size * size, size * size), size, size);
            }

            long[] shape = wrapper.BlockCount == 1 ? [size, size] : [wrapper.BlockCount, size, size];
            return Cast(builder.Floats(part, values, storage, shape), part);
        }

        string AddDense()
        {
            float[] dense = layer.Core.ToDense();
            return outputsFirst
                ? builder.Floats(name + ".armor_s", dense, storage, layer.Rows, layer.Columns)
                : builder.Floats(name + ".armor_s", Matrices.Transposed(dense, layer.Rows, layer.Columns), storage, layer.Columns, layer.Rows);
        }

        string AddSparse()
        {
            float[] dense = outputsFirst ? layer.Core.ToDense() : Matrices.Transposed(layer.Core.ToDense(), layer.Rows, layer.Columns);
            long[] places = [.. Enumerable.Range(0, dense.Length).Where(index => dense[index] != 0).Select(index => (long)index)];
            float[] kept = [.. places.Select(index => dense[index])];
            var bytes = new byte[kept.Length * (long)storage.ByteSize()];
            FloatBytes.FromFloat32(storage, kept, bytes);
            var sparse = new SparseTensorProto
            {
                Values = new TensorProto
                {
                    Name = builder.Unique(name + ".armor_s"), DataType = (int)ElementTypes.Of(storage), RawData = UnsafeByteOperations.UnsafeWrap(bytes), Dims = { kept.Length },
                },
                Indices = new TensorProto
                {
                    Name = builder.Unique(name + ".armor_s_places"),
                    DataType = (int)DataType.Int64,
                    RawData = UnsafeByteOperations.UnsafeWrap(MemoryMarshal.AsBytes<long>(places).ToArray()),
                    Dims = { kept.Length },
                },
                Dims = { outputsFirst ? layer.Rows : layer.Columns, outputsFirst ? layer.Columns : layer.Rows },
            };
            graph.SparseInitializer.Add(sparse);
            return sparse.Values.Name;
        }

        string Cast(string constant, string part) => storage == compute
            ? constant
            : builder.Node("Cast", [constant], part + "_cast", GraphBuilder.Attribute("to", (int)ElementTypes.Of(compute)));
    }

    /// <summary>The bytes of all factors as they are stored.</summary>
    /// <param name="layer">The factors.</param>
    /// <param name="storage">The type of the constants.</param>
    /// <param name="format">How the core is stored.</param>
    public static long StoredBytes(ArmorLayer layer, TensorElementType storage, SparseCoreFormat format)
    {
        long wrappers = (layer.InputWrapper?.Values.Length ?? 0L) + (layer.OutputWrapper?.Values.Length ?? 0L);
        long kept = layer.Core.Values.ToArray().LongCount(value => value != 0);
        return (wrappers * storage.ByteSize())
            + (format == SparseCoreFormat.Dense ? (long)layer.Rows * layer.Columns * storage.ByteSize() : kept * (storage.ByteSize() + sizeof(long)));
    }

    /// <summary>Adds the nodes of a product.</summary>
    /// <param name="rows">The value to multiply, [..., d_in].</param>
    /// <param name="rank">Its number of dimensions, at least 1.</param>
    /// <param name="output">The name of the result [..., d_out], which nothing else has; null for one of the builder's choice.</param>
    /// <returns>The result.</returns>
    public string Multiply(string rows, int rank, string? output = null)
    {
        string middle = _input is null ? rows : MultiplyBlocks(rows, rank, _input, _layer.InputWrapper!, "_b", null);
        if (_output is null)
        {
            return Product(middle, Core, "_s", output);
        }

        string outputs = Product(middle, Core, "_s", null);
        return MultiplyBlocks(outputs, rank, _output, _layer.OutputWrapper!, "_a", output);
    }

    /// <summary>Adds the nodes of the input wrapper's product alone.</summary>
    public string MultiplyInput(string rows, int rank) => _input is null ? rows : MultiplyBlocks(rows, rank, _input, _layer.InputWrapper!, "_b", null);

    private string MultiplyBlocks(string rows, int rank, string blocks, BlockDiagonalMatrix wrapper, string part, string? output)
    {
        if (wrapper.BlockCount == 1)
        {
            return Product(rows, blocks, part, output);
        }

        // A zero keeps the size that the rows have there.
        long[] leading = [.. Enumerable.Repeat(0L, rank - 1)];
        long[] whole = [.. leading, wrapper.Size];
        if (rank == 1)
        {
            string cut = Node("Reshape", [rows, _builder.Integers(wrapper.BlockCount, 1, wrapper.BlockSize)], part + "_cut");
            return Named("Reshape", [Product(cut, blocks, part, null), _builder.Integers(whole)], part + "_join", output);
        }

        long[] order = [.. Enumerable.Range(0, rank - 2).Select(axis => (long)axis), rank - 1, rank - 2, rank];
        AttributeProto swap = GraphBuilder.Attribute("perm", order);
        string parts = Node("Reshape", [rows, _builder.Integers([.. leading, wrapper.BlockCount, wrapper.BlockSize])], part + "_cut");
        string product = Product(Node("Transpose", [parts], part + "_blocks", swap), blocks, part, null);
        return Named("Reshape", [Node("Transpose", [product], part + "_rows", swap.Clone()), _builder.Integers(whole)], part + "_join", output);
    }

    private string Product(string rows, string matrix, string part, string? output) => Named("MatMul", [rows, matrix], part + "_product", output);

    private string Node(string operation, string[] inputs, string part, params AttributeProto[] attributes) =>
        _builder.Node(operation, inputs, _name + part, attributes);

    private string Named(string operation, string[] inputs, string part, string? output)
    {
        if (output is null)
        {
            return Node(operation, inputs, part);
        }

        _builder.NodeTo(operation, inputs, output);
        return output;
    }
}
