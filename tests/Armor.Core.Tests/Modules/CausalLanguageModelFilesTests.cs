using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using Armor.Tests.Shared;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Modules;

public sealed class CausalLanguageModelFilesTests
{
    private const string Linear = "model.layers.0.mlp.up_proj";

    [TestCaseSource(typeof(TinyModels), nameof(TinyModels.Families))]
    public void A_saved_model_comes_back(ModelConfiguration configuration)
    {
        using var folder = new TemporaryFolder();
        using var model = TinyModels.Create(configuration);
        model.Save(folder.Path, TensorElementType.Float32);

        using var loaded = CausalLanguageModel.Load(folder.Path);

        Assert.That(loaded.Configuration with { EndOfSequence = [] }, Is.EqualTo(configuration with { EndOfSequence = [], StoredType = TensorElementType.Float32 }));
        foreach (var (name, weight) in model.Weights)
        {
            Assert.That(TinyModels.Doubles(loaded.GetWeight(name)), Is.EqualTo(TinyModels.Doubles(weight)), name);
        }
    }

    [Test]
    public void The_weights_type_can_be_chosen()
    {
        using var folder = new TemporaryFolder();
        TinyLlama.Write(folder.Path);
        using var model = CausalLanguageModel.Load(folder.Path, type: ScalarType.Float64);
        Assert.That(model.Weights.Values.Select(weight => weight.dtype), Is.All.EqualTo(ScalarType.Float64));
    }

    [Test]
    public void An_armor_checkpoint_is_multiplied_out()
    {
        using var folder = new TemporaryFolder();
        var dense = TinyLlama.Write(folder.File("dense"), twoFour: true);
        ArmorLayer layer;
        using (var source = CheckpointFolder.Open(dense))
        using (var writer = ArmorCheckpointWriter.Create(source, folder.File("armor"), [Linear], TensorElementType.Float32))
        {
            var random = new Random(1);
            layer = new ArmorLayer(
                new BlockDiagonalMatrix(3, 16, [.. Enumerable.Range(0, 768).Select(_ => random.NextSingle() - 0.5f)]),
                SparseCore.FromDense(source.ReadFloat32(Linear + ".weight"), 48, 32),
                null);
            writer.Write(Linear, layer);
            writer.Commit();
        }

        using var model = CausalLanguageModel.Load(folder.File("armor"));
        using var other = CausalLanguageModel.Load(dense);

        Assert.That(TinyModels.Doubles(model.GetWeight(Linear + ".weight")), Is.EqualTo(layer.ToDense().Select(value => (double)value)).Within(1e-6));
        const string Untouched = "model.layers.1.mlp.up_proj.weight";
        Assert.That(TinyModels.Doubles(model.GetWeight(Untouched)), Is.EqualTo(TinyModels.Doubles(other.GetWeight(Untouched))));
    }

    [TestCase(float.NaN, "NaN")]
    [TestCase(float.PositiveInfinity, "∞|Infinity")]
    public void A_weight_that_is_not_finite_is_named(float value, string found)
    {
        using var folder = new TemporaryFolder();
        TinyLlama.Write(folder.Path, change: (name, values) =>
        {
            if (name == Linear + ".weight")
            {
                values[7] = value;
            }
        });

        Assert.That(
            () => CausalLanguageModel.Load(folder.Path),
            Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo(Linear + ".weight").And.Property("Found").Match(found));
    }

    [Test]
    public void A_missing_tensor_is_named()
    {
        using var folder = new TemporaryFolder();
        Write(folder.Path, shapes => shapes.Where(shape => shape.Name != Linear + ".weight"));
        Assert.That(
            () => CausalLanguageModel.Load(folder.Path),
            Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo(Linear + ".weight").And.Property("Expected").EqualTo("shape [40, 24]"));
    }

    [Test]
    public void A_wrong_shape_is_named()
    {
        using var folder = new TemporaryFolder();
        Write(folder.Path, shapes => shapes.Select(shape => shape.Name == Linear + ".weight" ? shape with { Shape = [24, 40] } : shape));
        Assert.That(
            () => CausalLanguageModel.Load(folder.Path),
            Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo(Linear + ".weight")
                .And.Property("Expected").EqualTo("shape [40, 24]").And.Property("Found").EqualTo("shape [24, 40]"));
    }

    [Test]
    public void A_bias_that_the_configuration_denies_is_refused()
    {
        using var folder = new TemporaryFolder();
        Write(folder.Path, shapes => [.. shapes, new TensorShape(Linear + ".bias", [40])]);
        Assert.That(
            () => CausalLanguageModel.Load(folder.Path),
            Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo(Linear + ".bias").And.Message.Contains("does not belong"));
    }

    [Test]
    public void Stored_rotary_frequencies_and_a_copy_of_a_tied_head_are_passed_over()
    {
        using var folder = new TemporaryFolder();
        Write(folder.Path, shapes =>
            [.. shapes, new TensorShape("model.layers.0.self_attn.rotary_emb.inv_freq", [3]), new TensorShape(ModelShapes.Head, [50, 24])]);
        using var model = CausalLanguageModel.Load(folder.Path);
        Assert.That(model.Weights.Keys, Does.Not.Contain(ModelShapes.Head));
    }

    [Test]
    public void A_failed_load_leaves_no_tensor()
    {
        using var folder = new TemporaryFolder();
        TinyLlama.Write(folder.Path, change: (name, values) => values[0] = name == ModelShapes.FinalNorm ? float.NaN : values[0]);
        var before = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        Assert.That(() => CausalLanguageModel.Load(folder.Path), Throws.TypeOf<CheckpointException>());
        Assert.That(DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount, Is.EqualTo(before));
    }

    [Test]
    public void A_model_with_a_weight_that_is_not_finite_is_not_saved()
    {
        using var folder = new TemporaryFolder();
        using var model = TinyModels.Create(TinyModels.Llama);
        using var broken = full(24L, float.NaN);
        model.SetWeight(ModelShapes.FinalNorm, broken);

        Assert.That(() => model.Save(folder.Path), Throws.TypeOf<CheckpointException>().With.Property("Tensor").EqualTo(ModelShapes.FinalNorm));
        Assert.That(Directory.EnumerateFileSystemEntries(folder.Path), Is.Empty);
    }

    private static void Write(string folder, Func<IEnumerable<TensorShape>, IEnumerable<TensorShape>> change)
    {
        var shapes = change(ModelShapes.Enumerate(TinyModels.Llama)).ToList();
        using var writer = SafetensorsWriter.Create(
            Path.Combine(folder, "model.safetensors"), [.. shapes.Select(shape => new TensorDescription(shape.Name, TensorElementType.Float32, shape.Shape))]);
        foreach (var shape in shapes)
        {
            writer.WriteFloat32(shape.Name, new float[shape.ElementCount]);
        }

        writer.Commit();
        File.WriteAllText(Path.Combine(folder, "config.json"), ConfigurationWriter.Write(TinyModels.Llama));
    }
}
