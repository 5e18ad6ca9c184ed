using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Onnx.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;
using TensorElementType = Armor.Runtime.Checkpoints.TensorElementType;

namespace Armor.Onnx.Tests;

/// <summary>Nodes of factors compute what the node with the weight, multiplied out, computes.</summary>
public sealed class RewriterTests
{
    private const float Tolerance = 2e-5f;

    private static readonly OnnxPrunerOptions Options = new() { PruneHeads = true };

    [Test]
    public void AMatMulOfAnyRankAndBlocks([Values(1, 2, 3, 4)] int rank, [Values] bool input, [Values] bool output, [Values(1, 3)] int blocks, [Values] SparseCoreFormat format)
    {
        ArmorLayer layer = Layer(18, 12, output ? blocks : null, input ? blocks : null, seed: rank);
        int[] shape = [.. new[] { 2, 3, 5 }.Take(rank - 1), 12];
        ModelProto model = Build(builder => builder.NodeTo("MatMul", ["x", Weight(builder, layer, inputsFirst: true)], "y"));
        Check(model, layer, shape, format);
    }

    [Test]
    public void AnEmptyBatchStaysEmpty()
    {
        ArmorLayer layer = Layer(18, 12, 3, 3, seed: 9);
        ModelProto model = Build(builder => builder.NodeTo("MatMul", ["x", Weight(builder, layer, inputsFirst: true)], "y"));
        Check(model, layer, [2, 0, 12], SparseCoreFormat.Dense);
    }

    [Test]
    public void AGemmInAllItsForms(
        [Values] bool transA, [Values] bool transB, [Values(1f, 0.5f)] float alpha, [Values(1f, -2f)] float beta, [Values("", "row", "column", "matrix")] string bias, [Values] bool isPlain)
    {
        const int Rows = 5;
        ArmorLayer layer = Layer(10, 8, isPlain ? null : 5, isPlain ? null : 2, seed: 3);
        ModelProto model = Build(builder =>
        {
            long[] shape = bias switch { "row" => [10], "column" => [Rows, 1], _ => [Rows, 10] };
            string[] inputs = ["x", Weight(builder, layer, inputsFirst: !transB)];
            string[] all = bias.Length == 0 ? inputs : [.. inputs, builder.Floats("c", TestGraphs.Normals(new Random(4), shape), TensorElementType.Float32, shape)];
            builder.NodeTo(
                "Gemm", all, "y", GraphBuilder.Attribute("transA", transA ? 1 : 0), GraphBuilder.Attribute("transB", transB ? 1 : 0),
                GraphBuilder.Attribute("alpha", alpha), GraphBuilder.Attribute("beta", beta));
        });
        Check(model, layer, transA ? [8, Rows] : [Rows, 8], SparseCoreFormat.Dense);
    }

    [Test]
    public void AWeightBehindNodesIsFound(
        [Values("Constant", "Identity", "Transpose", "Cast16", "CastB16", "CastAndTranspose", "Dequantized", "DequantizedByColumn", "DequantizedByRow")] string kind)
    {
        ArmorLayer layer = Layer(6, 8, 3, 2, seed: 5);
        float[] dense = layer.ToDense();
        float[] columns = Matrices.Transposed(dense, 6, 8);
        ModelProto model = Build(builder =>
        {
            AttributeProto Order() => GraphBuilder.Attribute("perm", new long[] { 1, 0 });
            AttributeProto To() => GraphBuilder.Attribute("to", (int)DataType.Float);
            string weight = kind switch
            {
                "Constant" => ConstantNode(builder, columns),
                "Identity" => builder.Node("Identity", [builder.Floats("w", columns, TensorElementType.Float32, 8, 6)]),
                "Transpose" => builder.Node("Transpose", [builder.Floats("w", dense, TensorElementType.Float32, 6, 8)], null, Order()),
                "Cast16" => builder.Node("Cast", [builder.Floats("w", columns, TensorElementType.Float16, 8, 6)], null, To()),
                "CastB16" => builder.Node("Cast", [builder.Floats("w", columns, TensorElementType.BFloat16, 8, 6)], null, To()),
                "CastAndTranspose" => builder.Node("Transpose", [builder.Node("Cast", [builder.Floats("w", dense, TensorElementType.Float16, 6, 8)], null, To())]),
                _ => Quantised(builder, kind),
            };
            builder.NodeTo("MatMul", ["x", weight], "y");
        });

        using OnnxFile file = OnnxFile.Wrap("test.onnx", model.Clone());
        PrunableWeight found = LinearFinder.Find(file, Options).Weights.Single();
        Assert.That((found.Rows, found.Columns), Is.EqualTo((6, 8)));
        float[] read = found.Read(file);
        if (kind.StartsWith("Dequantized", StringComparison.Ordinal))
        {
            // The node's own product of a unit matrix is the weight's transpose.
            float[] unit = [.. Enumerable.Range(0, 64).Select(i => i % 9 == 0 ? 1f : 0)];
            Assert.That(Matrices.Transposed(read, 6, 8), Is.EqualTo(Run(model, unit, [8, 8])).Within(1e-6f));
        }
        else
        {
            float error = kind.Contains("B16", StringComparison.Ordinal) ? 4e-3f : 5e-4f;
            Assert.That(read, Is.EqualTo(dense).Within(kind.Contains("16", StringComparison.Ordinal) || kind == "CastAndTranspose" ? error * dense.Max(Math.Abs) : 0));
        }

        // Factors are stored as the weight was, and nothing of the weight is left.
        ArmorLayer rounded = layer.RoundedTo(found.Constant.Storage);
        Rewrite(file, rounded, 2, SparseCoreFormat.Dense);
        int type = kind switch { "Cast16" or "CastAndTranspose" => (int)DataType.Float16, "CastB16" => (int)DataType.Bfloat16, _ => (int)DataType.Float };
        Assert.That(file.Graph.Initializer.Where(tensor => tensor.Name.Contains(".armor_", StringComparison.Ordinal)).Select(tensor => tensor.DataType), Is.All.EqualTo(type));
        Assert.That(file.Graph.Initializer.Select(tensor => tensor.Name), Has.None.EqualTo("w").And.None.EqualTo("scale"));
        Assert.That(file.Graph.Node.Select(node => node.OpType), Has.None.EqualTo("DequantizeLinear").And.None.EqualTo("Constant"));
        float[] x = TestGraphs.Normals(new Random(6), [4, 8]);
        Assert.That(Run(file.Model, x, [4, 8]), Is.EqualTo(Product(rounded, x, 4)).Within(Tolerance));
    }

    [Test]
    public void AWeightOfTwoNodesHasItsFactorsOnce()
    {
        ArmorLayer layer = Layer(8, 8, 2, 4, seed: 7);
        ModelProto model = Build(builder =>
        {
            string weight = Weight(builder, layer, inputsFirst: true);
            builder.NodeTo("MatMul", [builder.Node("MatMul", ["x", weight]), weight], "y");
        });
        using OnnxFile file = OnnxFile.Wrap("test.onnx", model.Clone());
        Rewrite(file, layer, 2, SparseCoreFormat.Dense);
        Assert.That(file.Graph.Initializer.Count(tensor => tensor.Name.Contains(".armor_", StringComparison.Ordinal)), Is.EqualTo(3));
        float[] x = TestGraphs.Normals(new Random(6), [3, 8]);
        Assert.That(Run(file.Model, x, [3, 8]), Is.EqualTo(Product(layer, Product(layer, x, 3), 3)).Within(Tolerance));
    }

    [Test]
    public void AWeightThatAGemmTransposesAndAMatMulDoesNotIsStillOne()
    {
        // The stored tensor is [8, 8]: x·w and x·wᵀ are different weights of the same tensor; the same weight through a Transpose node is the same.
        ArmorLayer layer = Layer(8, 8, 2, 4, seed: 8);
        float[] dense = layer.ToDense();
        ModelProto model = Build(builder =>
        {
            string stored = builder.Floats("w", dense, TensorElementType.Float32, 8, 8);
            string first = builder.Node("Gemm", ["x", stored], null, GraphBuilder.Attribute("transB", 1));
            builder.NodeTo("MatMul", [first, builder.Node("Transpose", [stored])], "y");
        });
        using OnnxFile file = OnnxFile.Wrap("test.onnx", model.Clone());
        Assert.That(LinearFinder.Find(file, Options).Weights.Single().Uses, Has.Count.EqualTo(2));
        Rewrite(file, layer, 2, SparseCoreFormat.Dense);
        float[] x = TestGraphs.Normals(new Random(6), [3, 8]);
        Assert.That(Run(file.Model, x, [3, 8]), Is.EqualTo(Product(layer, Product(layer, x, 3), 3)).Within(Tolerance));
        Assert.That(file.Graph.Initializer.Select(tensor => tensor.Name), Has.None.EqualTo("w"));
    }

    [Test]
    public void OneTensorReadAsTwoMatricesIsTwoWeights()
    {
        ModelProto model = Build(builder =>
        {
            string stored = builder.Floats("w", TestGraphs.Normals(new Random(3), [8, 8]), TensorElementType.Float32, 8, 8);
            string first = builder.Node("MatMul", ["x", stored]);
            string turned = builder.Node("MatMul", [first, builder.Node("Transpose", [stored])]);
            string half = builder.Node("Cast", [turned], null, GraphBuilder.Attribute("to", (int)DataType.Float16));
            string narrow = builder.Node("Cast", [stored], null, GraphBuilder.Attribute("to", (int)DataType.Float16));
            builder.NodeTo("Cast", [builder.Node("MatMul", [half, narrow])], "y", GraphBuilder.Attribute("to", (int)DataType.Float));
        });
        using OnnxFile file = OnnxFile.Wrap("test.onnx", model);
        IReadOnlyList<PrunableWeight> weights = LinearFinder.Find(file, Options).Weights;
        Assert.That(weights.Select(weight => (weight.Constant.Compute, weight.Uses[0].IsAsStored, weight.Level)), Is.EqualTo(new[]
        {
            (TensorElementType.Float32, false, 0), (TensorElementType.Float32, true, 1), (TensorElementType.Float16, false, 2),
        }));

        // Each gets factors of its own, under names of their own, and the graph still runs.
        var rewriter = new GraphRewriter(file.Graph, null);
        foreach (PrunableWeight weight in weights)
        {
            rewriter.Replace(weight, Layer(8, 8, 2, 4, seed: weight.Level), weight.Uses.ToDictionary(use => use.Input, _ => 2), SparseCoreFormat.Dense);
        }

        rewriter.Finish();
        Assert.That(file.Graph.Initializer.Count(tensor => tensor.Name.Contains(".armor_s", StringComparison.Ordinal)), Is.EqualTo(3));
        float[] x = TestGraphs.Normals(new Random(6), [3, 8]);
        float[] expected = Enumerable.Range(0, 3).Aggregate(x, (rows, level) => Product(Layer(8, 8, 2, 4, seed: level), rows, 3));
        Assert.That(Run(file.Model, x, [3, 8]), Is.EqualTo(expected).Within(0.02f));
    }

    [Test]
    public void APlainCoreTakesTheWeightsPlace()
    {
        ArmorLayer layer = Layer(6, 8, null, null, seed: 4);
        ModelProto model = Build(builder => builder.NodeTo("Gemm", ["x", Weight(builder, layer, inputsFirst: false)], "y", GraphBuilder.Attribute("transB", 1)));
        using OnnxFile file = OnnxFile.Wrap("test.onnx", model);
        Rewrite(file, layer, 2, SparseCoreFormat.Dense);
        Assert.That(file.Graph.Node, Has.Count.EqualTo(1));
        Assert.That(TensorReader.ReadFloats(file, file.Graph.Initializer.Single()), Is.EqualTo(layer.ToDense()));
    }

    private static ModelProto Build(Action<GraphBuilder> add)
    {
        var graph = new GraphProto { Name = "test" };
        var builder = new GraphBuilder(graph);
        graph.Input.Add(new ValueInfoProto { Name = "x", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float } } });
        add(builder);
        graph.Output.Add(new ValueInfoProto { Name = "y", Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)DataType.Float } } });
        return GraphBuilder.Model(graph);
    }

    private static ArmorLayer Layer(int rows, int columns, int? outputBlocks, int? inputBlocks, int seed)
    {
        var random = new Random(seed);
        BlockDiagonalMatrix? Wrapper(int size, int? blocks) => blocks is { } count
            ? new BlockDiagonalMatrix(count, size / count, TestGraphs.Normals(random, [size, size / count], 1 / MathF.Sqrt((float)size / count)))
            : null;
        ArmorLayer any = ArmorCheckpoints.RandomLayer(rows, columns, random);
        return new ArmorLayer(Wrapper(rows, outputBlocks), any.Core, Wrapper(columns, inputBlocks));
    }

    private static string Weight(GraphBuilder builder, ArmorLayer layer, bool inputsFirst)
    {
        float[] dense = layer.ToDense();
        return inputsFirst
            ? builder.Floats("w", Matrices.Transposed(dense, layer.Rows, layer.Columns), TensorElementType.Float32, layer.Columns, layer.Rows)
            : builder.Floats("w", dense, TensorElementType.Float32, layer.Rows, layer.Columns);
    }

    private static string ConstantNode(GraphBuilder builder, float[] values)
    {
        var tensor = new TensorProto { DataType = (int)DataType.Float, Dims = { 8, 6 } };
        tensor.FloatData.AddRange(values);
        return builder.Node("Constant", [], "constant", new AttributeProto { Name = "value", Type = AttributeProto.Types.AttributeType.Tensor, T = tensor });
    }

    // [8, 6] of int8, with a scale and zero point for all, for each column or for each row.
    private static string Quantised(GraphBuilder builder, string kind)
    {
        byte[] values = [.. Enumerable.Range(0, 48).Select(i => unchecked((byte)((i * 37) % 251)))];
        int count = kind switch { "DequantizedByColumn" => 6, "DequantizedByRow" => 8, _ => 1 };
        long[] shape = count == 1 ? [] : [count];
        string[] inputs =
        [
            builder.Tensor("w", DataType.Int8, values, 8, 6),
            builder.Floats("scale", [.. Enumerable.Range(1, count).Select(i => 0.01f * i)], TensorElementType.Float32, shape),
            builder.Tensor("zero", DataType.Int8, [.. Enumerable.Range(0, count).Select(i => (byte)i)], shape),
        ];
        return builder.Node("DequantizeLinear", inputs, null, GraphBuilder.Attribute("axis", kind == "DequantizedByRow" ? 0 : 1));
    }

    private static void Check(ModelProto model, ArmorLayer layer, int[] shape, SparseCoreFormat format)
    {
        float[] x = TestGraphs.Normals(new Random(1), [.. shape.Select(size => (long)size)]);
        float[] expected = Run(model, x, shape);
        using OnnxFile file = OnnxFile.Wrap("test.onnx", model.Clone());
        Rewrite(file, layer, shape.Length, format);
        Assert.That(file.Graph.Initializer.Select(tensor => tensor.Name), Has.None.EqualTo("w"));
        Assert.That(Run(file.Model, x, shape), Is.EqualTo(expected).Within(Tolerance));
    }

    private static void Rewrite(OnnxFile file, ArmorLayer layer, int rank, SparseCoreFormat format)
    {
        PrunableWeight weight = LinearFinder.Find(file, Options).Weights.Single();
        var rewriter = new GraphRewriter(file.Graph, null);
        rewriter.Replace(weight, layer, weight.Uses.Select(use => use.Input).Distinct().ToDictionary(input => input, _ => rank), format);
        rewriter.Finish();
    }

    private static float[] Run(ModelProto model, float[] x, int[] shape)
    {
        using var session = new InferenceSession(model.ToByteArray());
        using var outputs = session.Run([NamedOnnxValue.CreateFromTensor("x", new DenseTensor<float>(x, shape))]);
        return outputs[0].AsTensor<float>().ToArray();
    }

    // x·Ŵᵀ in double precision.
    private static float[] Product(ArmorLayer layer, float[] x, int rows)
    {
        float[] dense = layer.ToDense();
        return [.. Enumerable.Range(0, rows * layer.Rows).Select(i => (float)Enumerable.Range(0, layer.Columns)
            .Sum(k => (double)x[(i / layer.Rows * layer.Columns) + k] * dense[(i % layer.Rows * layer.Columns) + k]))];
    }
}
