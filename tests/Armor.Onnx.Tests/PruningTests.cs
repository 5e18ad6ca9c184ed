using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Onnx.Calibration;
using Armor.Onnx.Export;
using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Onnx.Pruning;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;
using TensorElementType = Armor.Runtime.Checkpoints.TensorElementType;

namespace Armor.Onnx.Tests;

/// <summary>Models of several kinds pruned whole.</summary>
public sealed class PruningTests
{
    private static readonly ArmorPrunerOptions Fast = ArmorPrunerOptions.Fast with
    {
        Stages = [new PruningStage { Loss = StageLoss.Diagonal, PolishCycles = 10 }, new PruningStage { Loss = StageLoss.FullHessian, PolishCycles = 10 }],
        BlockSize = 8,
    };

    private static readonly ArmorPrunerOptions Magnitude = ArmorPrunerOptions.Fast with { Method = PruningMethod.Magnitude };

    private TemporaryFolder folder = null!;

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [Test]
    public async Task AnEncoderKeepsItsOutputsBetterThanByMagnitude([Values] CalibrationMode mode)
    {
        string model = TestGraphs.Save(TestGraphs.Encoder(), folder.File("encoder.onnx"));
        var calibration = OnnxCalibration.FromTokens(model, TestGraphs.Sentences(24, 20, seed: 3));
        OnnxPruningReport report = await OnnxPruner.PruneAsync(
            model, folder.File("armor.onnx"), calibration, new OnnxPrunerOptions { Pruner = Fast, Calibration = mode });
        await OnnxPruner.PruneAsync(model, folder.File("magnitude.onnx"), calibration, new OnnxPrunerOptions { Pruner = Magnitude, Calibration = mode });

        Assert.That(report.Linears, Has.Count.EqualTo(12));
        Assert.That(report.Skipped, Is.Empty);
        var held = OnnxCalibration.FromTokens(model, TestGraphs.Sentences(4, 20, seed: 4)).ToArray();
        double armor = held.Average(inputs => TestGraphs.Error(TestGraphs.Run(folder.File("armor.onnx"), inputs), TestGraphs.Run(model, inputs)));
        double magnitude = held.Average(inputs => TestGraphs.Error(TestGraphs.Run(folder.File("magnitude.onnx"), inputs), TestGraphs.Run(model, inputs)));
        Console.WriteLine($"{mode}: armor {armor:0.0000}, magnitude {magnitude:0.0000}");
        Assert.That(armor, Is.LessThan(0.75 * magnitude));
        Assert.That(armor, Is.LessThan(0.5));
        Assert.That(report.Linears.Select(linear => linear.Loss), Is.All.LessThan(0.5));
    }

    [Test]
    public async Task AVisionModelKeepsItsOutputsBetterThanByMagnitude()
    {
        string model = TestGraphs.Save(TestGraphs.Vision(), folder.File("vision.onnx"));
        IReadOnlyCollection<NamedOnnxValue> Inputs(int count, int seed) => [NamedOnnxValue.CreateFromTensor("pixel_values", TestGraphs.Images(count, seed))];
        IReadOnlyCollection<NamedOnnxValue>[] calibration = [.. Enumerable.Range(0, 8).Select(seed => Inputs(8, seed))];
        OnnxPruningReport report = await OnnxPruner.PruneAsync(model, folder.File("armor.onnx"), calibration, new OnnxPrunerOptions { Pruner = Fast });
        await OnnxPruner.PruneAsync(model, folder.File("magnitude.onnx"), calibration, new OnnxPrunerOptions { Pruner = Magnitude });

        Assert.That(report.Linears.Select(linear => linear.Name), Is.EquivalentTo(new[] { "patches.up", "patches.down", "channels.up", "channels.down", "neck.weight" }));
        Assert.That(report.Skipped.Single(), Is.EqualTo(new SkippedNode("logits", "Gemm", "it is a head: its product is an output of the model")));
        var held = Inputs(16, 100);
        float[] dense = TestGraphs.Run(model, held);
        double armor = TestGraphs.Error(TestGraphs.Run(folder.File("armor.onnx"), held), dense);
        double magnitude = TestGraphs.Error(TestGraphs.Run(folder.File("magnitude.onnx"), held), dense);
        Console.WriteLine($"armor {armor:0.0000}, magnitude {magnitude:0.0000}");
        Assert.That(armor, Is.LessThan(0.75 * magnitude));
        Assert.That(armor, Is.LessThan(0.4));
    }

    [Test]
    public async Task ADecoderIsPrunedThroughItsCacheInputs()
    {
        string checkpoint = Decoders.Write(folder.File("model"), Decoders.Llama);
        await OnnxExporter.ExportAsync(checkpoint, folder.File("onnx"), new OnnxExportOptions { Storage = TensorElementType.BFloat16, ExternalData = true });
        string model = folder.File("onnx/model.onnx");
        int[][] sequences = [.. Enumerable.Range(0, 12).Select(seed => Decoders.Tokens(Decoders.Llama, 30, seed))];
        string output = folder.File("out/pruned.onnx");
        Directory.CreateDirectory(folder.File("out"));
        OnnxPruningReport report = await OnnxPruner.PruneAsync(model, output, OnnxCalibration.FromTokens(model, sequences), new OnnxPrunerOptions { Pruner = Fast });

        Assert.That(report.Linears, Has.Count.EqualTo(14));
        Assert.That(report.Linears.Select(linear => linear.Name), Does.Contain("model.layers.1.mlp.down_proj.weight"));
        Assert.That(report.Skipped.Single().Node, Is.EqualTo("head"), "the tied head is also the embedding");
        Assert.That(report.DenseBytes, Is.EqualTo(2L * report.Linears.Sum(linear => linear.Rows * linear.Columns)), "bfloat16");

        // Beside the output, under its name; types, inputs and the way through the cache stay.
        Assert.That(File.Exists(output + ".data"), Is.True);
        using (OnnxFile file = OnnxFile.Open(output))
        {
            Assert.That(file.Graph.Initializer.Where(tensor => tensor.Name.Contains(".armor_", StringComparison.Ordinal)).Select(tensor => tensor.DataType), Is.All.EqualTo((int)DataType.Bfloat16));
        }

        using var session = new Running.DecoderSession(output, new Running.OnnxRuntimeOptions());
        float[] whole = session.Append(Row(sequences[0]));
        session.Forget();
        session.Append(Row(sequences[0][..29]));
        float[] last = session.Append(Row(sequences[0][29..]));
        Assert.That(last, Is.EqualTo(whole[^last.Length..]).Within(1e-4f));
    }

    [Test]
    public async Task TheHessianIsThatOfAllInputsOfAllUses([Values] bool fitsOneOnly)
    {
        // Two weights read x, one of them also reads its relu; a third reads xᵀ.
        var random = new Random(5);
        var graph = new GraphProto { Name = "test" };
        var builder = new GraphBuilder(graph);
        builder.Input("x", DataType.Float, 8, 8);
        string Weight(string name) => builder.Floats(name, TestGraphs.Normals(random, [8, 4]), TensorElementType.Float32, 8, 4);
        string shared = Weight("shared");
        builder.NodeTo("MatMul", ["x", shared], "a");
        builder.NodeTo("MatMul", [builder.Node("Relu", ["x"], "relu"), shared], "b");
        builder.NodeTo("MatMul", ["x", Weight("alone")], "c");
        builder.NodeTo("Gemm", ["x", Weight("turned")], "d", GraphBuilder.Attribute("transA", 1));
        foreach (string output in new[] { "a", "b", "c", "d" })
        {
            builder.Output(output, DataType.Float, 8, 4);
        }

        string path = TestGraphs.Save(GraphBuilder.Model(graph), folder.File("test.onnx"));
        float[][] inputs = [.. Enumerable.Range(0, 3).Select(_ => TestGraphs.Normals(random, [8, 8]))];
        IReadOnlyCollection<NamedOnnxValue>[] batches = [.. inputs.Select(x => (NamedOnnxValue[])[NamedOnnxValue.CreateFromTensor("x", new DenseTensor<float>(x, [8, 8]))])];

        using OnnxFile file = OnnxFile.Open(path);
        var options = new OnnxPrunerOptions { PruneHeads = true };
        IReadOnlyList<InputGroup> groups = InputGroup.Of(LinearFinder.Find(file, options).Weights);
        Assert.That(groups.Select(group => group.Weights.Single().Name), Is.EqualTo((string[])["shared", "alone", "turned"]));
        var ranks = new Dictionary<string, int>();
        IReadOnlyList<ActivationStatistics> found = HessianCollector.Collect(groups, file, null, batches, ranks, options.Runtime, default);
        Assert.That(Values(found[0]), Is.EqualTo(Hessian([.. inputs, .. inputs.Select(x => Array.ConvertAll(x, value => Math.Max(0, value)))])).Within(1e-5));
        Assert.That(Values(found[1]), Is.EqualTo(Hessian(inputs)).Within(1e-5));
        Assert.That(Values(found[2]), Is.EqualTo(Hessian([.. inputs.Select(x => Matrices.Transposed(x, 8, 8))])).Within(1e-5));
        Assert.That(found[0].TokenCount, Is.EqualTo(48));

        // However little memory there is, the result is the same.
        OnnxPrunerOptions Pruning(long memory) => options with { Pruner = Magnitude, Calibration = CalibrationMode.Dense, MemoryBudget = memory };
        await OnnxPruner.PruneAsync(path, folder.File("once.onnx"), batches, Pruning(long.MaxValue));
        await OnnxPruner.PruneAsync(path, folder.File("again.onnx"), batches, Pruning(fitsOneOnly ? 1 : 1100));
        Assert.That(File.ReadAllBytes(folder.File("again.onnx")), Is.EqualTo(File.ReadAllBytes(folder.File("once.onnx"))));
    }

    [TestCase(DataType.Float16)]
    [TestCase(DataType.Bfloat16)]
    public async Task AGraphOf16BitsIsPruned(int type)
    {
        var graph = new GraphProto { Name = "test" };
        var builder = new GraphBuilder(graph);
        TensorElementType storage = ElementTypes.Floating(type)!.Value;
        builder.Input("x", (DataType)type, "rows", 16);
        builder.NodeTo("MatMul", ["x", builder.Floats("w", TestGraphs.Normals(new Random(1), [16, 8]), storage, 16, 8)], "y");
        builder.Output("y", (DataType)type, "rows", 8);
        string model = TestGraphs.Save(GraphBuilder.Model(graph), folder.File("test.onnx"));
        float[] x = TestGraphs.Normals(new Random(2), [32, 16]);
        NamedOnnxValue input = type == (int)DataType.Float16
            ? NamedOnnxValue.CreateFromTensor("x", new DenseTensor<Float16>(Array.ConvertAll(x, value => (Float16)value), [32, 16]))
            : NamedOnnxValue.CreateFromTensor("x", new DenseTensor<BFloat16>(Array.ConvertAll(x, value => (BFloat16)value), [32, 16]));
        OnnxPruningReport report = await OnnxPruner.PruneAsync(model, folder.File("out.onnx"), [[input]], new OnnxPrunerOptions { Pruner = Fast, PruneHeads = true });
        Assert.That(report.Linears.Single().DenseBytes, Is.EqualTo(256));
        using OnnxFile file = OnnxFile.Open(folder.File("out.onnx"));
        Assert.That(file.Graph.Initializer.Where(tensor => tensor.Dims.Count > 1).Select(tensor => tensor.DataType), Is.All.EqualTo(type));
    }

    [Test]
    public async Task EqualInputGivesEqualBytes()
    {
        string model = TestGraphs.Save(TestGraphs.Encoder(), folder.File("encoder.onnx"));
        var calibration = OnnxCalibration.FromTokens(model, TestGraphs.Sentences(6, 12, seed: 3));
        foreach (string name in new[] { "a.onnx", "b.onnx" })
        {
            await OnnxPruner.PruneAsync(model, folder.File(name), calibration, new OnnxPrunerOptions { Pruner = Fast });
        }

        Assert.That(File.ReadAllBytes(folder.File("b.onnx")), Is.EqualTo(File.ReadAllBytes(folder.File("a.onnx"))));
    }

    [Test]
    public async Task WhatCannotBePrunedIsToldWithItsReason()
    {
        var random = new Random(6);
        var graph = new GraphProto { Name = "test" };
        var builder = new GraphBuilder(graph);
        builder.Input("x", DataType.Float, 4, 8);
        string Weight(string name, params long[] shape) => builder.Floats(name, TestGraphs.Normals(random, shape), TensorElementType.Float32, shape);
        string good = builder.Node("MatMul", ["x", Weight("good", 8, 8)], "good_node");
        List<string> products =
        [
            builder.Node("MatMul", [Weight("w1", 3, 4), "x"], "left"),
            builder.Node("MatMul", [good, Weight("w2", 2, 8, 8)], "batch"),
            builder.Node("MatMul", [good, builder.Node("Reshape", [Weight("w3", 64), builder.Integers(8, 8)])], "reshaped"),
            builder.Node("MatMul", [builder.Node("MatMul", [good, Weight("w4", 8, 6)], "narrow"), Weight("w5", 6, 8)], "odd"),
            builder.Node("MatMul", [good, Weight("w6", 8, 4)], "left_out"),
            builder.Node("Relu", [builder.Node("Add", [builder.Node("MatMul", [good, Weight("w7", 8, 8)], "read_elsewhere"), builder.Node("ReduceSum", ["w7"])])], "relu"),
            builder.Node("MatMul", [good, builder.Node("Transpose", [good])], "attention"),
        ];
        foreach (string product in products)
        {
            graph.Output.Add(new ValueInfoProto { Name = builder.Node("Relu", [product]) });
        }

        graph.Output.Add(new ValueInfoProto { Name = builder.Node("Softmax", [builder.Node("Add", [builder.Node("MatMul", [good, Weight("w8", 8, 8)], "classifier"), Weight("bias", 8)])]) });
        string path = TestGraphs.Save(GraphBuilder.Model(graph), folder.File("test.onnx"));
        IReadOnlyCollection<NamedOnnxValue>[] calibration =
            [.. Enumerable.Range(0, 4).Select(_ => (NamedOnnxValue[])[NamedOnnxValue.CreateFromTensor("x", new DenseTensor<float>(TestGraphs.Normals(random, [4, 8]), [4, 8]))])];
        OnnxPruningReport report = await OnnxPruner.PruneAsync(
            path, folder.File("out.onnx"), calibration, new OnnxPrunerOptions { Pruner = Magnitude, Skip = name => name == "w6" });

        Assert.That(report.Linears.Select(linear => linear.Name), Is.EqualTo((string[])["good", "w4"]));
        Assert.That(report.Skipped.ToDictionary(node => node.Node, node => node.Reason), Is.EquivalentTo(new Dictionary<string, string>
        {
            ["left"] = "its weight is the left operand",
            ["batch"] = "its weight has the shape [2, 8, 8], not that of a matrix",
            ["reshaped"] = "its weight is made by a Reshape node",
            ["odd"] = "its 6 inputs are no multiple of 4",
            ["left_out"] = "the options leave it out",
            ["read_elsewhere"] = "its weight is also read by the ReduceSum node 'ReduceSum'",
            ["classifier"] = "it is a head: its product is an output of the model",
        }));
    }

    [Test]
    public void WhatIsWrongIsNamedAndLeavesNothing()
    {
        ModelProto vision = TestGraphs.Vision();
        string model = TestGraphs.Save(vision, folder.File("vision.onnx"));
        IReadOnlyCollection<NamedOnnxValue>[] images = [[NamedOnnxValue.CreateFromTensor("pixel_values", TestGraphs.Images(2, 1))]];
        var options = new OnnxPrunerOptions { Pruner = Magnitude };
        Task Prune(string path, IEnumerable<IReadOnlyCollection<NamedOnnxValue>> calibration) => OnnxPruner.PruneAsync(path, folder.File("out.onnx"), calibration, options);

        Assert.That(() => Prune(model, []), Throws.TypeOf<CalibrationException>().With.Message.Contains("found none"));
        Assert.That(
            () => Prune(model, [[NamedOnnxValue.CreateFromTensor("image", TestGraphs.Images(2, 1))]]),
            Throws.TypeOf<OnnxException>().With.Message.Contains("input 'pixel_values'").And.Message.Contains("vision.onnx"));
        Assert.That(
            () => Prune(model, [[NamedOnnxValue.CreateFromTensor("pixel_values", new DenseTensor<float>([1, 2, 16, 16]))]]),
            Throws.TypeOf<OnnxException>().With.Message.Contains("ONNX Runtime cannot run the model"));
        DenseTensor<float> infinite = TestGraphs.Images(1, 1);
        infinite[0, 0, 0, 0] = float.PositiveInfinity;
        Assert.That(() => Prune(model, [[NamedOnnxValue.CreateFromTensor("pixel_values", infinite)]]), Throws.TypeOf<CalibrationException>().With.Message.Contains("must be finite"));
        Assert.That(() => OnnxCalibration.FromTokens(model, [[1, 2]]), Throws.TypeOf<OnnxException>().With.Message.Contains("takes no tokens"));
        Assert.That(() => OnnxPruner.PruneAsync(model, model, images, options), Throws.TypeOf<OnnxException>().With.Message.Contains("exists already"));

        byte[] bytes = File.ReadAllBytes(model);
        File.WriteAllBytes(folder.File("cut.onnx"), bytes[..(bytes.Length / 2)]);
        Assert.That(() => Prune(folder.File("cut.onnx"), images), Throws.TypeOf<OnnxException>().With.Message.Contains("not a whole ONNX model"));

        TensorProto neck = vision.Graph.Initializer.First(tensor => tensor.Name == "neck.weight");
        byte[] raw = neck.RawData.ToByteArray();
        BitConverter.GetBytes(float.NaN).CopyTo(raw, 4 * 30);
        neck.RawData = Google.Protobuf.ByteString.CopyFrom(raw);
        string bad = TestGraphs.Save(vision, folder.File("nan.onnx"));
        Assert.That(
            () => Prune(bad, images), Throws.TypeOf<OnnxException>().With.Message.Contains("tensor 'neck.weight'").And.Message.Contains("NaN for output 1 and input 6"));

        vision.Graph.Node.First(node => node.OpType == "Relu").OpType = "Rulu";
        string unknown = TestGraphs.Save(vision, folder.File("unknown.onnx"));
        Assert.That(() => Prune(unknown, images), Throws.TypeOf<OnnxException>().With.Message.Contains("Rulu"));

        using var cancelled = new CancellationTokenSource();
        var progress = new CancelAtFirst(cancelled);
        Assert.That(
            () => OnnxPruner.PruneAsync(model, folder.File("out.onnx"), images, options, progress, cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(
            Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "vision.onnx", "cut.onnx", "nan.onnx", "unknown.onnx" }));
    }

    [TestCase(Running.OnnxExecutionProvider.Cuda)]
    [TestCase(Running.OnnxExecutionProvider.TensorRt)]
    public async Task AProviderThatIsNotThereIsNamed(Running.OnnxExecutionProvider provider)
    {
        string model = TestGraphs.Save(TestGraphs.Vision(), folder.File("vision.onnx"));
        IReadOnlyCollection<NamedOnnxValue>[] images = [[NamedOnnxValue.CreateFromTensor("pixel_values", TestGraphs.Images(2, 1))]];
        var options = new OnnxPrunerOptions { Pruner = Magnitude, Runtime = new Running.OnnxRuntimeOptions { Provider = provider } };
        try
        {
            await OnnxPruner.PruneAsync(model, folder.File("out.onnx"), images, options);
        }
        catch (OnnxException exception)
        {
            Assert.That(exception.Message, Does.Contain("vision.onnx: ONNX Runtime cannot run the model"));
            return;
        }

        Assert.Ignore($"{provider} is there.");
    }

    private static long[,] Row(int[] tokens)
    {
        var row = new long[1, tokens.Length];
        for (int i = 0; i < tokens.Length; i++)
        {
            row[0, i] = tokens[i];
        }

        return row;
    }

    // Σ x xᵀ / n in double precision.
    private static double[] Hessian(float[][] batches)
    {
        var sum = new double[64];
        foreach (float[] x in batches)
        {
            for (int i = 0; i < 512; i++)
            {
                sum[i % 64] += (double)x[(i / 64 * 8) + (i % 64 / 8)] * x[(i / 64 * 8) + (i % 8)] / (8 * batches.Length);
            }
        }

        return sum;
    }

    private static double[] Values(ActivationStatistics statistics) => statistics.Hessian!.to(TorchSharp.torch.float64).contiguous().data<double>().ToArray();

    private sealed class CancelAtFirst(CancellationTokenSource source) : IProgress<ModelPruningProgress>
    {
        public void Report(ModelPruningProgress value)
        {
            if (value.Finished)
            {
                source.Cancel();
            }
        }
    }
}
