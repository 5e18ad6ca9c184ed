using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using Armor.Onnx.Calibration;
using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Microsoft.ML.OnnxRuntime;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Tests;

/// <summary>Calibration inputs from files and from tokens.</summary>
public sealed class NumPyTests
{
    private TemporaryFolder folder = null!;
    private string model = null!;

    [SetUp]
    public void Create()
    {
        folder = new TemporaryFolder();
        model = Save("model.onnx", ("x", DataType.Float, ["rows", 2]), ("ids", DataType.Int64, ["rows"]));
    }

    [TearDown]
    public void Delete() => folder.Dispose();

    [Test]
    public void ArraysComeUnderTheirNames([Values(1, 2, 3)] int version)
    {
        string first = Archive("a.npz", ("x.npy", Array("<f4", "(2, 2)", [1f, 2, 3, 4], version)), ("ids.npy", Array("<i8", "(2,)", [7L, 8], version)));
        string second = Archive("b.npz", ("ids.npy", Array("<i8", "(1,)", [9L])), ("x.npy", Array("<f4", "(1, 2)", [5f, 6])), ("other.npy", Array("<f4", "()", [0f])));
        var runs = OnnxCalibration.FromNumPy(model, [first, second]);
        for (int pass = 0; pass < 2; pass++)
        {
            IReadOnlyCollection<NamedOnnxValue>[] found = [.. runs];
            Assert.That(found[0].Single(value => value.Name == "x").AsTensor<float>().ToArray(), Is.EqualTo((float[])[1, 2, 3, 4]));
            Assert.That(found[0].Single(value => value.Name == "ids").AsTensor<long>().ToArray(), Is.EqualTo((long[])[7, 8]));
            Assert.That(found[1].Single(value => value.Name == "x").AsTensor<float>().Dimensions.ToArray(), Is.EqualTo((int[])[1, 2]));
            Assert.That(found[1], Has.Count.EqualTo(2));
        }
    }

    [Test]
    public void ASingleArrayIsForASingleInput()
    {
        string one = Save("one.onnx", ("x", DataType.Float, ["rows", 2]));
        File.WriteAllBytes(folder.File("x.npy"), Array("<f4", "(1, 2)", [5f, 6]));
        Assert.That(OnnxCalibration.FromNumPy(one, [folder.File("x.npy")]).Single().Single().AsTensor<float>().ToArray(), Is.EqualTo((float[])[5, 6]));
        Assert.That(() => OnnxCalibration.FromNumPy(model, [folder.File("x.npy")]).ToArray(), Throws.TypeOf<OnnxException>().With.Message.Contains("one array only"));
    }

    [Test]
    public void WhatDoesNotFitIsNamed()
    {
        byte[] ids = Array("<i8", "(1,)", [9L]);
        (string Problem, byte[] X)[] cases =
        [
            ("not what the model takes; expected float [rows, 2], found double [1, 2]", Array("<f8", "(1, 2)", [5.0, 6])),
            ("not what the model takes; expected float [rows, 2], found float [1, 3]", Array("<f4", "(1, 3)", [5f, 6, 7])),
            ("not what the model takes", Array("<f4", "(2,)", [5f, 6])),
            ("type is not known", Array(">f4", "(1, 2)", [5f, 6])),
            ("type is not known", Array("<U4", "(1, 2)", [5f, 6])),
            ("not in C order", Array("<f4", "(1, 2)", [5f, 6], isFortran: true)),
            ("not a whole NumPy file", Array("<f4", "(2, 2)", [5f, 6])),
            ("not one that fits into memory", Array("<f4", "(99999999999, 2)", [5f, 6])),
            ("not one that fits into memory", Array("<f4", "(2000000000, 2)", [5f, 6])),
            ("not one that fits into memory", Array("<f4", "(-1, 2)", [5f, 6])),
            ("not a NumPy array", "no array at all"u8.ToArray()),
            ("not a whole NumPy file", []),
        ];
        for (int i = 0; i < cases.Length; i++)
        {
            string file = Archive($"{i}.npz", ("x.npy", cases[i].X), ("ids.npy", ids));
            Assert.That(
                () => OnnxCalibration.FromNumPy(model, [file]).ToArray(), Throws.TypeOf<OnnxException>().With.Message.Contains(cases[i].Problem).And.Message.Contains($"{i}.npz"), $"{i}");
        }

        string missing = Archive("missing.npz", ("ids.npy", ids));
        Assert.That(() => OnnxCalibration.FromNumPy(model, [missing]).ToArray(), Throws.TypeOf<OnnxException>().With.Message.Contains("input 'x'").And.Message.Contains("an input is missing"));
        File.WriteAllText(folder.File("text.npz"), "no archive");
        Assert.That(() => OnnxCalibration.FromNumPy(model, [folder.File("text.npz")]).ToArray(), Throws.TypeOf<OnnxException>().With.Message.Contains("not a whole NumPy file"));
        Assert.That(() => OnnxCalibration.FromNumPy(model, [folder.File("none.npz")]).ToArray(), Throws.TypeOf<OnnxException>().With.Message.Contains("cannot be read"));
        Assert.That(() => OnnxCalibration.FromNumPy(model, []), Throws.TypeOf<OnnxException>().With.Message.Contains("at least one"));
    }

    [Test]
    public void TokensBringAllThatGoesWithThem()
    {
        string decoder = Save(
            "decoder.onnx", ("input_ids", DataType.Int64, ["b", "s"]), ("attention_mask", DataType.Int32, ["b", "t"]), ("position_ids", DataType.Int64, ["b", "s"]),
            ("token_type_ids", DataType.Int64, ["b", "s"]), ("past_key_values.0.key", DataType.Float16, ["b", 2, "p", 4]), ("use_cache_branch", DataType.Bool, [1]));
        NamedOnnxValue[] inputs = [.. OnnxCalibration.FromTokens(decoder, [[5, 6, 7]]).Single()];
        T[] Of<T>(int index) => inputs[index].AsTensor<T>().ToArray();
        Assert.That(inputs[0].AsTensor<long>().Dimensions.ToArray(), Is.EqualTo((int[])[1, 3]));
        Assert.That(Of<long>(0), Is.EqualTo((long[])[5, 6, 7]));
        Assert.That(Of<int>(1), Is.EqualTo((int[])[1, 1, 1]));
        Assert.That(Of<long>(2), Is.EqualTo((long[])[0, 1, 2]));
        Assert.That(Of<long>(3), Is.EqualTo((long[])[0, 0, 0]));
        Assert.That(inputs[4].AsTensor<Float16>().Dimensions.ToArray(), Is.EqualTo((int[])[1, 2, 0, 4]));
        Assert.That(Of<bool>(5), Is.EqualTo((bool[])[false]));

        string other = Save("other.onnx", ("input_ids", DataType.Int64, ["b", "s"]), ("pixel_values", DataType.Float, ["b", 3]));
        Assert.That(() => OnnxCalibration.FromTokens(other, [[1]]), Throws.TypeOf<OnnxException>().With.Message.Contains("input 'pixel_values'"));
    }

    [Test]
    public void TextsAreCutToTheContext()
    {
        string decoder = Save("decoder.onnx", ("input_ids", DataType.Int64, ["b", "s"]));
        ByteTokenizer.Write(folder.Path);
        int[] Lengths(int? most) => [.. OnnxCalibration.FromTexts(decoder, folder.Path, ["abcdef", " ", "abc"], most).Select(run => (int)run.Single().AsTensor<long>().Length)];
        Assert.That(Lengths(null), Is.EqualTo((int[])[7, 4]), "with the start of the sequence; empty texts are left out");
        Assert.That(Lengths(5), Is.EqualTo((int[])[5, 4]));
        File.WriteAllText(folder.File("config.json"), """{ "n_positions": 6 }""");
        Assert.That(Lengths(null), Is.EqualTo((int[])[6, 4]));
    }

    private string Save(string name, params (string Name, DataType Type, object[] Shape)[] inputs)
    {
        var graph = new GraphProto { Name = "test" };
        var builder = new GraphBuilder(graph);
        foreach ((string input, DataType type, object[] shape) in inputs)
        {
            builder.Input(input, type, shape);
            builder.Node("Identity", [input]);
        }

        return TestGraphs.Save(GraphBuilder.Model(graph), folder.File(name));
    }

    private string Archive(string name, params (string Name, byte[] Bytes)[] entries)
    {
        using var archive = new ZipArchive(File.Create(folder.File(name)), ZipArchiveMode.Create);
        foreach ((string entry, byte[] bytes) in entries)
        {
            using Stream stream = archive.CreateEntry(entry).Open();
            stream.Write(bytes);
        }

        return folder.File(name);
    }

    // As numpy.save writes it: the header padded with spaces to a multiple of 64 and ended by a line break.
    private static byte[] Array<T>(string type, string shape, T[] values, int version = 1, bool isFortran = false)
        where T : unmanaged
    {
        string text = $"{{'descr': '{type}', 'fortran_order': {(isFortran ? "True" : "False")}, 'shape': {shape}, }}";
        int start = version == 1 ? 10 : 12;
        string header = text.PadRight(((start + text.Length + 1 + 63) / 64 * 64) - start - 1) + "\n";
        byte[] length = version == 1 ? BitConverter.GetBytes((ushort)header.Length) : BitConverter.GetBytes((uint)header.Length);
        return [0x93, .. "NUMPY"u8, (byte)version, 0, .. length, .. Encoding.UTF8.GetBytes(header), .. MemoryMarshal.AsBytes<T>(values)];
    }
}
