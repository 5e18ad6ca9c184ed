using Armor.Core.Calibration;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Families;

/// <summary>The newer families pruned, loaded again and exported.</summary>
public sealed class FamilyPruningTests
{
    private const string Phi3 = "Phi-3, LongRoPE, partial rotation";

    private static readonly IEnumerable<string> Families = FamilyCheckpoint.Names;

    private TemporaryFolder folder = null!;
    private string model = null!;
    private string output = null!;

    [SetUp]
    public void CreateFolder()
    {
        folder = new TemporaryFolder();
        model = folder.File("model");
        output = folder.File("out");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task APrunedModelLoadsAndExports([ValueSource(nameof(Families))] string family, [Values] CalibrationMode mode)
    {
        Dictionary<string, double[]> source = FamilyCheckpoint.Write(family, model);
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(model, output, FamilyCheckpoint.Sequences(10), FamilyCheckpoint.Quick with { Calibration = mode });

        int[] tokens = FamilyCheckpoint.Tokens(40, seed: 3);
        float[] logits = Logits(output, tokens);
        using (ArmorCheckpoint pruned = ArmorCheckpoint.Open(output))
        {
            CheckpointVerification.Verify(pruned);
            Assert.That(pruned.PrunedLinears, Is.EqualTo(ModelShapes.LinearNames(pruned.Base.Configuration)));
            Assert.That(report.Linears.Select(linear => linear.Name), Is.EqualTo(pruned.PrunedLinears));
            DenseExport.Write(pruned, folder.File("dense"));
        }

        using ArmorModel managed = ArmorModel.Load(output);
        var found = new float[logits.Length];
        managed.ForwardLogits(tokens, managed.CreateSession(), found);
        Assert.That(Difference(found, logits), Is.LessThan(1e-4), "factors in the managed forward pass");

        // What another loader would find: the publisher's names and shapes, and the function of the pruned model.
        using CheckpointFolder whole = CheckpointFolder.Open(folder.File("dense"));
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder.File("dense"), "model.safetensors"));
        Assert.That(file.Tensors.Keys, Is.EquivalentTo(source.Keys));
        var weights = file.Tensors.Keys.ToDictionary(name => name, name => Array.ConvertAll(file.ReadFloat32(name), value => (double)value));
        double[] expected = [.. new FamilyReference(FamilyCheckpoint.Configuration(family), weights).Logits(tokens).SelectMany(row => row)];
        Assert.That(logits.Zip(expected, (x, y) => Math.Abs(x - y)).Max(), Is.LessThan(1e-3));
    }

    [Test]
    public async Task PruningByTheInputsBeatsPruningWithoutThem([Values("Gemma 3", "Mixtral")] string family)
    {
        Dictionary<string, double[]> source = FamilyCheckpoint.Write(family, model);
        await ModelPruner.PruneTokensAsync(model, output, FamilyCheckpoint.Sequences(40), FamilyCheckpoint.Quick);
        int[] tokens = FamilyCheckpoint.Tokens(60, seed: 99);
        double[] dense = [.. new FamilyReference(FamilyCheckpoint.Configuration(family), source).Logits(tokens).SelectMany(row => row)];
        double Error(string path) => Logits(path, tokens).Zip(dense, (x, y) => Math.Pow(x - y, 2)).Sum() / dense.Sum(y => y * y);

        await ModelPruner.PruneTokensAsync(
            model, folder.File("magnitude"), FamilyCheckpoint.Sequences(2), FamilyCheckpoint.Quick with { Pruner = new ArmorPrunerOptions { Method = PruningMethod.Magnitude } });
        Assert.That(Error(output), Is.LessThan(0.7 * Error(folder.File("magnitude"))));
    }

    [Test]
    public async Task FusedWeightsAreStackedInTheSparseExport()
    {
        FamilyCheckpoint.Write(Phi3, model);
        await ModelPruner.PruneTokensAsync(model, output, FamilyCheckpoint.Sequences(4), FamilyCheckpoint.Quick with { Pruner = new ArmorPrunerOptions { Method = PruningMethod.Wanda } });
        using ArmorCheckpoint pruned = ArmorCheckpoint.Open(output);
        Sparse24Export.Write(pruned, folder.File("sparse"));

        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder.File("sparse"), "model.safetensors"));
        const string Fused = "model.layers.1.self_attn.qkv_proj";
        string[] parts = ["q", "k", "v"];
        var layers = parts.Select(part => pruned.ReadLayer($"model.layers.1.self_attn.{part}_proj")).ToArray();
        Assert.Multiple(() =>
        {
            Assert.That(file.ReadFloat32(Fused + ".compressed"), Is.EqualTo(layers.SelectMany(layer => layer.Core.Values.ToArray())));
            Assert.That(file.GetBytes(Fused + ".bitmask").ToArray(), Is.EqualTo(layers.SelectMany(layer => layer.Core.Mask.ToArray())));
            Assert.That(file.GetTensor(Fused + ".compressed").Shape, Is.EqualTo(new long[] { 64, 16 }));
            Assert.That(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(file.GetBytes(Fused + ".shape")).ToArray(), Is.EqualTo(new long[] { 64, 32 }));
            Assert.That(file.Tensors.Keys, Has.None.Contains("q_proj"));
        });
    }

    [Test]
    public void AFusedWeightOfTheWrongShapeIsNamed()
    {
        FamilyCheckpoint.Write(Phi3, model);
        string config = File.ReadAllText(Path.Combine(model, "config.json"));
        File.WriteAllText(Path.Combine(model, "config.json"), config.Replace("\"num_key_value_heads\":1", "\"num_key_value_heads\":2", StringComparison.Ordinal));
        Assert.That(
            () => CheckpointFolder.Open(model),
            Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo("model.layers.0.self_attn.qkv_proj.weight").And.Message.Contains("96 rows"));
    }

    [Test]
    public void AModelIsSavedUnderThePublishersNames([ValueSource(nameof(Families))] string family)
    {
        Dictionary<string, double[]> source = FamilyCheckpoint.Write(family, model);
        using (CausalLanguageModel loaded = CausalLanguageModel.Load(model))
        {
            loaded.Save(output, TensorElementType.Float32);
        }

        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(output, "model.safetensors"));
        Assert.That(file.Tensors.Keys, Is.EquivalentTo(source.Keys));
        foreach ((string name, double[] values) in source)
        {
            Assert.That(file.ReadFloat32(name), Is.EqualTo(Array.ConvertAll(values, value => (float)value)), name);
        }
    }

    private static float[] Logits(string path, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using CausalLanguageModel model = CausalLanguageModel.Load(path);
        return model.Forward(tensor(Array.ConvertAll(tokens, token => (long)token)).unsqueeze(0)).data<float>().ToArray();
    }

    private static double Difference(float[] found, float[] expected) => found.Zip(expected, (x, y) => (double)Math.Abs(x - y)).Max();
}
