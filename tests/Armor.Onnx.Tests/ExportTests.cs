using System.Text.Json;
using Armor.Onnx.Export;
using Armor.Onnx.Files;
using Armor.Onnx.Running;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using Microsoft.ML.OnnxRuntime;

namespace Armor.Onnx.Tests;

/// <summary>Checkpoints as decoder ONNX, held against TorchSharp by ONNX Runtime.</summary>
public sealed class ExportTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [TestCaseSource(typeof(Decoders), nameof(Decoders.Families))]
    public async Task LogitsAreTorchSharpsAtOnceAndThroughTheCache(ModelConfiguration configuration)
    {
        string model = Decoders.Write(folder.File("model"), configuration);
        OnnxExportReport report = await OnnxExporter.ExportAsync(model, folder.File("onnx"));
        Assert.That(report.Verification!.Largest, Is.LessThan(1e-4));

        // Longer than the window and other tokens than the exporter's own check.
        OnnxVerification again = OnnxVerifier.Compare(
            Exported(), model, [Decoders.Tokens(configuration, 2, seed: 5), Decoders.Tokens(configuration, configuration.ContextLength, seed: 6)]);
        Assert.That(again.Largest, Is.LessThan(1e-4));
        Assert.That(again.Positions, Is.EqualTo(2 + configuration.ContextLength));
    }

    [Test]
    public async Task FactorsAreNodesThatGiveTheSameLogits(
        [Values] SparseCoreFormat format,
        [Values(TensorElementType.Float32, TensorElementType.Float16, TensorElementType.BFloat16)] TensorElementType storage)
    {
        string dense = Decoders.Write(folder.File("dense"), Decoders.Llama);
        string armor = ArmorCheckpoints.Write(dense, folder.File("armor"));
        OnnxExportReport report = await OnnxExporter.ExportAsync(
            armor, folder.File("onnx"), new OnnxExportOptions { CoreFormat = format, Storage = storage });
        Assert.That(report.Verification!.Largest, Is.LessThan(1e-4));

        using OnnxFile file = OnnxFile.Open(Exported());
        using ArmorCheckpoint checkpoint = ArmorCheckpoint.Open(armor);
        Assert.That(
            format == SparseCoreFormat.Dense ? file.Graph.Initializer.Count(tensor => tensor.Name.EndsWith(".armor_s", StringComparison.Ordinal)) : file.Graph.SparseInitializer.Count,
            Is.EqualTo(checkpoint.PrunedLinears.Count));
        Assert.That(
            file.Graph.Initializer.Count(tensor => tensor.Name.EndsWith(".armor_b", StringComparison.Ordinal)),
            Is.EqualTo(checkpoint.Layers.Count(layer => layer.InputBlock is not null)));
    }

    [Test]
    public async Task QuantisedCoresAreMultipliedOut()
    {
        string dense = Decoders.Write(folder.File("dense"), Decoders.Llama);
        string armor = ArmorCheckpoints.Write(dense, folder.File("armor"), TensorElementType.Int8);
        OnnxExportReport report = await OnnxExporter.ExportAsync(armor, folder.File("onnx"));
        Assert.That(report.Verification!.Largest, Is.LessThan(1e-4));
    }

    [Test]
    public async Task TheLayoutIsWhatOtherToolsExpect()
    {
        string model = Decoders.Write(folder.File("model"), Decoders.Llama);
        ByteTokenizer.Write(model);
        await OnnxExporter.ExportAsync(model, folder.File("onnx"));

        using var session = new InferenceSession(Exported());
        Assert.That(session.InputNames, Is.EquivalentTo(new[]
        {
            "input_ids", "attention_mask", "past_key_values.0.key", "past_key_values.0.value", "past_key_values.1.key", "past_key_values.1.value",
        }));
        Assert.That(session.OutputNames, Is.EquivalentTo(new[] { "logits", "present.0.key", "present.0.value", "present.1.key", "present.1.value" }));
        Assert.That(session.InputMetadata["past_key_values.1.key"].Dimensions, Is.EqualTo((int[])[-1, 2, -1, 6]));
        Assert.That(session.InputMetadata["past_key_values.1.key"].SymbolicDimensions, Is.EqualTo((string[])["batch_size", "", "past_sequence_length", ""]));
        Assert.That(session.OutputMetadata["logits"].Dimensions, Is.EqualTo((int[])[-1, -1, Decoders.Llama.VocabularySize]));

        Assert.That(Directory.GetFiles(folder.File("onnx")).Select(Path.GetFileName), Is.EquivalentTo(new[] { "model.onnx", "config.json", "genai_config.json", "tokenizer.json" }));
        JsonElement genAi = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder.File("onnx"), "genai_config.json"))).RootElement.GetProperty("model");
        Assert.That(genAi.GetProperty("type").GetString(), Is.EqualTo("llama"));
        Assert.That(genAi.GetProperty("decoder").GetProperty("num_key_value_heads").GetInt32(), Is.EqualTo(2));
        using OnnxFile file = OnnxFile.Open(Exported());
        Assert.That(file.Graph.Node.Select(node => node.Domain), Is.All.Empty, "standard operators only");
        Assert.That(file.Opset, Is.EqualTo(17));
    }

    [Test]
    public async Task APaddedSequenceOfABatchHasTheLogitsThatItHasAlone([Values] bool window)
    {
        ModelConfiguration configuration = window
            ? Decoders.Llama with { Family = ModelFamily.Mistral, SlidingWindow = 4 }
            : Decoders.Llama;
        string model = Decoders.Write(folder.File("model"), configuration);
        await OnnxExporter.ExportAsync(model, folder.File("onnx"));
        using var session = new DecoderSession(Exported(), new OnnxRuntimeOptions());
        int[] tokens = Decoders.Tokens(configuration, 6, seed: 8);
        int[] others = Decoders.Tokens(configuration, 9, seed: 9);

        // Three of padding before the shorter sequence; then one more token for both, through the cache.
        var both = new long[2, 8];
        var mask = new long[2, 9];
        for (int i = 0; i < 9; i++)
        {
            mask[0, i] = i >= 3 ? 1 : 0;
            mask[1, i] = 1;
            if (i < 8)
            {
                both[0, i] = i >= 3 ? tokens[i - 3] : 0;
                both[1, i] = others[i];
            }
        }

        session.Append(both, Columns(mask, 8));
        float[] last = session.Append(new long[,] { { tokens[5] }, { others[8] } }, mask);
        Assert.That(last[..configuration.VocabularySize], Is.EqualTo(Last(session, tokens)).Within(1e-5f));
        Assert.That(last[configuration.VocabularySize..], Is.EqualTo(Last(session, others)).Within(1e-5f));
    }

    [Test]
    public async Task WeightsInAFileBesideTheModelAreTheSame()
    {
        string model = Decoders.Write(folder.File("model"), Decoders.Llama);
        await OnnxExporter.ExportAsync(model, folder.File("onnx"));
        OnnxExportReport report = await OnnxExporter.ExportAsync(model, folder.File("external"), new OnnxExportOptions { ExternalData = true });
        string external = folder.File("external/model.onnx");
        Assert.That(File.Exists(external + ".data"), Is.True);
        Assert.That(report.Bytes, Is.EqualTo(new FileInfo(external).Length + new FileInfo(external + ".data").Length));

        using OnnxFile inside = OnnxFile.Open(Exported());
        using OnnxFile outside = OnnxFile.Open(external);
        Assert.That(outside.HasExternalData, Is.True);
        foreach ((var expected, var found) in inside.Graph.Initializer.Zip(outside.Graph.Initializer).Where(pair => pair.First.DataType == 1))
        {
            Assert.That(found.Name, Is.EqualTo(expected.Name));
            Assert.That(TensorReader.ReadFloats(outside, found), Is.EqualTo(TensorReader.ReadFloats(inside, expected)));
        }
    }

    [Test]
    public void WhatCannotBeExportedIsNamedAndLeavesNothing()
    {
        ModelConfiguration experts = Decoders.Llama with { Family = ModelFamily.Mixtral, Experts = new ExpertConfiguration(4, 2, true), TieWordEmbeddings = false };
        ModelConfiguration longRope = Decoders.Llama with
        {
            Family = ModelFamily.Phi3,
            TieWordEmbeddings = false,
            RopeScaling = new RopeScaling(RopeScalingKind.LongRope, 2, OriginalContextLength: 20)
            {
                ShortFactors = [1, 1, 1],
                LongFactors = [2, 2, 2],
                Magnitude = RopeScaling.LongRopeMagnitude(2, 20),
            },
        };
        foreach ((ModelConfiguration configuration, string problem) in new[] { (experts, "experts"), (longRope, "LongRoPE") })
        {
            string model = Decoders.Write(folder.File(problem), configuration);
            Assert.That(() => OnnxExporter.ExportAsync(model, folder.File("never")), Throws.TypeOf<OnnxException>().With.Message.Contains(problem));
        }

        string llama = Decoders.Write(folder.File("model"), Decoders.Llama);
        Assert.That(
            () => OnnxExporter.ExportAsync(llama, folder.File("never"), new OnnxExportOptions { Tolerance = 1e-12 }),
            Throws.TypeOf<OnnxException>().With.Message.Contains("logits are not those"));
        Assert.That(() => OnnxExporter.ExportAsync(llama, llama), Throws.TypeOf<OnnxException>().With.Message.Contains("exists already"));
        Assert.That(
            () => OnnxExporter.ExportAsync(llama, folder.File("never"), new OnnxExportOptions { Tolerance = 0, Storage = TensorElementType.Int8 }),
            Throws.ArgumentException.With.Message.Contains("Tolerance").And.Message.Contains("Storage"));
        Assert.That(Directory.EnumerateFileSystemEntries(folder.Path).Select(Path.GetFileName), Is.EquivalentTo(new[] { "experts", "LongRoPE", "model" }));
    }

    private string Exported() => folder.File("onnx/" + OnnxExporter.ModelFileName);

    private static long[,] Columns(long[,] matrix, int count)
    {
        var part = new long[matrix.GetLength(0), count];
        for (int row = 0; row < part.GetLength(0); row++)
        {
            for (int column = 0; column < count; column++)
            {
                part[row, column] = matrix[row, column];
            }
        }

        return part;
    }

    private static float[] Last(DecoderSession session, int[] tokens)
    {
        session.Forget();
        var row = new long[1, tokens.Length];
        for (int i = 0; i < tokens.Length; i++)
        {
            row[0, i] = tokens[i];
        }

        float[] logits = session.Append(row);
        return logits[^(logits.Length / tokens.Length)..];
    }
}
