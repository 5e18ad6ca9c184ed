using System.Buffers.Binary;
using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Google.Protobuf;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Tests;

/// <summary>Reading and writing of files, sound and hostile.</summary>
public sealed class FileTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [Test]
    public void WhatIsNotKnownIsWrittenBack()
    {
        // A field of a number that nobody has used yet, in the model, the graph, a node, an attribute and a tensor; and a known one that is not in our messages.
        byte[] unknown = [0xFA, 0x3E, 3, (byte)'a', (byte)'b', (byte)'c']; // field 1007, three bytes
        ModelProto model = OneProduct();
        model = ModelProto.Parser.ParseFrom([.. model.ToByteArray(), .. unknown]);
        model.Graph = GraphProto.Parser.ParseFrom([.. model.Graph.ToByteArray(), .. unknown]);
        model.Graph.Node[0] = NodeProto.Parser.ParseFrom([.. model.Graph.Node[0].ToByteArray(), .. unknown]);
        model.Graph.Initializer[0] = TensorProto.Parser.ParseFrom([.. model.Graph.Initializer[0].ToByteArray(), .. unknown]);
        byte[] bytes = model.ToByteArray();
        File.WriteAllBytes(folder.File("in.onnx"), bytes);

        using OnnxFile file = OnnxFile.Open(folder.File("in.onnx"));
        Write(file, folder.File("out.onnx"));
        Assert.That(Count(File.ReadAllBytes(folder.File("out.onnx")), unknown), Is.EqualTo(4));
        Assert.That(File.ReadAllBytes(folder.File("out.onnx")), Has.Length.EqualTo(bytes.Length));
    }

    [Test]
    public void EveryWayOfStoringFloatsReadsTheSame()
    {
        float[] values = [0, 1, -2.5f, 0.099975586f, 65504, -0.0078125f];
        using OnnxFile file = OnnxFile.Wrap("test.onnx", OneProduct());
        TensorProto Tensor(DataType type) => new() { Name = "t", DataType = (int)type, Dims = { 2, 3 } };

        TensorProto floats = Tensor(DataType.Float);
        floats.FloatData.AddRange(values);
        Assert.That(TensorReader.ReadFloats(file, floats), Is.EqualTo(values));

        TensorProto halves = Tensor(DataType.Float16);
        halves.Int32Data.AddRange(values.Select(value => (int)BitConverter.HalfToUInt16Bits((Half)value)));
        Assert.That(TensorReader.ReadFloats(file, halves), Is.EqualTo(values));
        foreach (TensorElementType type in new[] { TensorElementType.Float32, TensorElementType.Float16, TensorElementType.BFloat16 })
        {
            TensorProto raw = Tensor(ElementTypes.Of(type));
            var bytes = new byte[6 * type.ByteSize()];
            FloatBytes.FromFloat32(type, values, bytes);
            raw.RawData = ByteString.CopyFrom(bytes);
            Assert.That(TensorReader.ReadFloats(file, raw), Is.EqualTo(values).Within(type == TensorElementType.BFloat16 ? 0.4f : 0).Percent);
        }
    }

    [TestCase(1.0f, 0x3F80)]
    [TestCase(1.00390625f, 0x3F80)] // half-way: to even
    [TestCase(1.01171875f, 0x3F82)] // half-way: to even
    [TestCase(1.00390637f, 0x3F81)]
    [TestCase(float.NaN, 0x7FC0)]
    [TestCase(float.PositiveInfinity, 0x7F80)]
    [TestCase(float.MaxValue, 0x7F80)]
    public void BFloat16IsRoundedToNearestEven(float value, int bits)
    {
        var bytes = new byte[2];
        FloatBytes.FromFloat32(TensorElementType.BFloat16, [value], bytes);
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(bytes) & 0x7FFF, Is.EqualTo(bits));
    }

    [Test]
    public void ATruncatedFileIsNamedWhereverItEnds()
    {
        byte[] bytes = OneProduct().ToByteArray();
        string path = folder.File("cut.onnx");
        for (int length = 0; length < bytes.Length; length += length < 60 || length > bytes.Length - 60 ? 1 : 13)
        {
            File.WriteAllBytes(path, bytes[..length]);
            Assert.That(
                () => OnnxFile.Open(path).Dispose(), Throws.TypeOf<OnnxException>().With.Message.Contains("cut.onnx").And.Property("Problem").Not.Empty, $"{length} bytes");
        }
    }

    [TestCase(6)]
    [TestCase(1000)]
    [TestCase(-1)]
    public void AnUnknownOperatorSetIsNamed(int version)
    {
        File.WriteAllBytes(folder.File("model.onnx"), OneProduct(version).ToByteArray());
        Assert.That(() => OnnxFile.Open(folder.File("model.onnx")), Throws.TypeOf<OnnxException>().With.Message.Contains("operator set is not known").And.Message.Contains($"found {version}"));
    }

    [Test]
    public void AModelWithoutAnOperatorSetOrAGraphIsNamed()
    {
        ModelProto without = OneProduct();
        without.OpsetImport.Clear();
        File.WriteAllBytes(folder.File("a.onnx"), without.ToByteArray());
        Assert.That(() => OnnxFile.Open(folder.File("a.onnx")), Throws.TypeOf<OnnxException>().With.Message.Contains("operator set"));
        File.WriteAllBytes(folder.File("b.onnx"), [0x08, 0x08]);
        Assert.That(() => OnnxFile.Open(folder.File("b.onnx")), Throws.TypeOf<OnnxException>().With.Message.Contains("no graph"));
        Assert.That(() => OnnxFile.Open(folder.File("c.onnx")), Throws.TypeOf<OnnxException>().With.Message.Contains("does not exist"));
    }

    [TestCase("../weights.bin")]
    [TestCase("sub/../../weights.bin")]
    [TestCase("./weights.bin")]
    [TestCase("/etc/hostname")]
    [TestCase("C:\\weights.bin")]
    [TestCase("..\\weights.bin")]
    [TestCase("sub//weights.bin")]
    [TestCase("")]
    public void ExternalDataOutsideTheFolderIsRefused(string location)
    {
        Directory.CreateDirectory(folder.File("model/sub"));
        File.WriteAllBytes(folder.File("weights.bin"), new byte[64]);
        Assert.That(() => ReadExternal(location), Throws.TypeOf<OnnxException>().With.Message.Contains("must lie in the model's folder").And.Message.Contains("tensor 'w'"));
    }

    [Test]
    public void ExternalDataBehindALinkIsRefused()
    {
        Directory.CreateDirectory(folder.File("model"));
        File.WriteAllBytes(folder.File("weights.bin"), new byte[64]);
        Directory.CreateDirectory(folder.File("other"));
        File.WriteAllBytes(folder.File("other/weights.bin"), new byte[64]);
        File.CreateSymbolicLink(folder.File("model/link.bin"), folder.File("weights.bin"));
        Directory.CreateSymbolicLink(folder.File("model/linked"), folder.File("other"));
        foreach (string location in new[] { "link.bin", "linked/weights.bin" })
        {
            Assert.That(() => ReadExternal(location), Throws.TypeOf<OnnxException>().With.Message.Contains("behind a link"));
        }
    }

    [Test]
    public void ExternalDataThatDoesNotFitIsNamed()
    {
        Directory.CreateDirectory(folder.File("model"));
        File.WriteAllBytes(folder.File("model/short.bin"), new byte[60]);
        File.WriteAllBytes(folder.File("model/empty.bin"), []);
        File.WriteAllBytes(folder.File("model/whole.bin"), new byte[100]);
        Assert.That(() => ReadExternal("short.bin"), Throws.TypeOf<OnnxException>().With.Message.Contains("wrong length"));
        Assert.That(() => ReadExternal("empty.bin"), Throws.TypeOf<OnnxException>().With.Message.Contains("wrong length"));
        Assert.That(() => ReadExternal("none.bin"), Throws.TypeOf<OnnxException>().With.Message.Contains("is missing"));
        Assert.That(() => ReadExternal("whole.bin", "40", "64"), Throws.TypeOf<OnnxException>().With.Message.Contains("too short"));
        Assert.That(() => ReadExternal("whole.bin", "-4", "64"), Throws.TypeOf<OnnxException>().With.Message.Contains("not a number"));
        Assert.That(() => ReadExternal("whole.bin", "9223372036854775807", "64"), Throws.TypeOf<OnnxException>().With.Message.Contains("too short"));
        Assert.That(ReadExternal("whole.bin", "36", "64"), Has.Length.EqualTo(16));
    }

    [Test]
    public void AHostileShapeIsNamed()
    {
        using OnnxFile file = OnnxFile.Wrap("test.onnx", OneProduct());
        foreach (long[] dims in new long[][] { [-1, 4], [1L << 40, 1L << 40], [1L << 31, 4] })
        {
            var tensor = new TensorProto { Name = "t", DataType = (int)DataType.Float };
            tensor.Dims.AddRange(dims);
            Assert.That(() => TensorReader.ReadFloats(file, tensor), Throws.TypeOf<OnnxException>());
        }

        var other = new TensorProto { Name = "t", DataType = (int)DataType.Float, Dims = { 2, 2 }, RawData = ByteString.CopyFrom(new byte[15]) };
        Assert.That(() => TensorReader.ReadFloats(file, other), Throws.TypeOf<OnnxException>().With.Message.Contains("does not fit its shape"));
    }

    [Test]
    public void AnOutputIsNeverOverwrittenAndNeverHalfThere()
    {
        string path = folder.File("out.onnx");
        File.WriteAllText(path, "mine");
        Assert.That(() => OnnxOutput.File(path), Throws.TypeOf<OnnxException>().With.Message.Contains("exists already"));
        File.Move(path, path + ".data");
        Assert.That(() => OnnxOutput.File(path), Throws.TypeOf<OnnxException>().With.Message.Contains("exists already"));
        File.Delete(path + ".data");

        using OnnxFile file = OnnxFile.Wrap(path, OneProduct());
        using (OnnxOutput output = OnnxOutput.File(path))
        {
            using var writer = new OnnxModelWriter(output.TemporaryPath, external: true);
            writer.Write(file, default);
            Assert.That(File.Exists(path), Is.False);
        }

        Assert.That(Directory.EnumerateFileSystemEntries(folder.Path), Is.Empty, "without a commit nothing is left");
    }

    /// <summary>y = x·w, w [64, 8].</summary>
    private static ModelProto OneProduct(int opset = 17)
    {
        var graph = new GraphProto { Name = "product" };
        var builder = new GraphBuilder(graph);
        builder.Input("x", DataType.Float, "rows", 64);
        string weight = builder.Floats("w", [.. Enumerable.Range(0, 512).Select(i => i / 512f)], TensorElementType.Float32, 64, 8);
        builder.NodeTo("MatMul", ["x", weight], "y");
        builder.Output("y", DataType.Float, "rows", 8);
        return GraphBuilder.Model(graph, opset);
    }

    private float[] ReadExternal(string location, string? offset = null, string? length = null)
    {
        var tensor = new TensorProto { Name = "w", DataType = (int)DataType.Float, Dims = { 4, 4 }, DataLocation = TensorProto.Types.DataLocation.External };
        tensor.ExternalData.Add(new StringStringEntryProto { Key = "location", Value = location });
        if (offset is not null)
        {
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "offset", Value = offset });
            tensor.ExternalData.Add(new StringStringEntryProto { Key = "length", Value = length });
        }

        using OnnxFile file = OnnxFile.Wrap(folder.File("model/model.onnx"), OneProduct());
        return TensorReader.ReadFloats(file, tensor);
    }

    private static void Write(OnnxFile file, string path)
    {
        using OnnxOutput output = OnnxOutput.File(path);
        using (var writer = new OnnxModelWriter(output.TemporaryPath, external: false))
        {
            writer.Write(file, default);
        }

        output.Commit();
    }

    private static int Count(byte[] bytes, byte[] pattern) =>
        Enumerable.Range(0, bytes.Length - pattern.Length + 1).Count(start => bytes.AsSpan(start, pattern.Length).SequenceEqual(pattern));
}
