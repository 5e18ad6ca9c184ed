using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Core.Tests.Generation;

public sealed class ArmorModelLoadTests
{
    private TemporaryFolder folder = null!;
    private string dense = null!;

    [SetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        dense = TinyLlama.Write(folder.File("dense"));
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase("model.layers.1.mlp.down_proj.weight", float.NaN)]
    [TestCase("model.layers.0.input_layernorm.weight", float.PositiveInfinity)]
    [TestCase("model.embed_tokens.weight", float.NegativeInfinity)]
    public void AWeightThatIsNotFiniteIsNamed(string name, float bad)
    {
        TinyLlama.Write(dense, change: (tensor, values) => values[17] = tensor == name ? bad : values[17]);
        AssertRefused(dense, name, "finite");
    }

    [Test]
    public void TensorsMustFitTheConfiguration()
    {
        string configuration = Path.Combine(dense, "config.json");
        string text = File.ReadAllText(configuration);
        File.WriteAllText(configuration, text.Replace("\"intermediate_size\":48", "\"intermediate_size\":52", StringComparison.Ordinal));
        AssertRefused(dense, "mlp.gate_proj.weight", "[52, 32]");
        File.WriteAllText(configuration, text.Replace("\"num_hidden_layers\":2", "\"num_hidden_layers\":3", StringComparison.Ordinal));
        AssertRefused(dense, "model.layers.2.", "missing");
    }

    [Test]
    public void APrunedLinearThatTheModelDoesNotHaveIsRefused()
    {
        string pruned = FamilyModels.WritePruned(dense, folder.File("pruned"));
        string configuration = Path.Combine(pruned, "config.json");
        string text = File.ReadAllText(configuration);
        string fewer = System.Text.RegularExpressions.Regex.Replace(text, "\"num_hidden_layers\":\\s*2", "\"num_hidden_layers\": 1");
        Assert.That(fewer, Is.Not.EqualTo(text));
        File.WriteAllText(configuration, fewer);
        AssertRefused(pruned, "model.layers.1.self_attn.q_proj", "does not belong");
        Assert.That(() => CausalLanguageModel.Load(pruned), Throws.TypeOf<CheckpointException>().With.Message.Contains("does not belong"));
    }

    [Test]
    public void ADamagedFactorIsFound()
    {
        string pruned = FamilyModels.WritePruned(dense, folder.File("pruned"));
        string file = Path.Combine(pruned, "model.safetensors");
        long position;
        using (SafetensorsFile tensors = SafetensorsFile.Open(file))
        {
            byte[] mask = tensors.GetBytes("model.layers.1.self_attn.q_proj.armor.core_mask").ToArray();
            position = File.ReadAllBytes(file).AsSpan().IndexOf(mask);
        }

        using (FileStream stream = File.Open(file, FileMode.Open))
        {
            stream.Position = position;
            int value = stream.ReadByte();
            stream.Position = position;
            stream.WriteByte((byte)(value ^ 0xFF));
        }

        AssertRefused(pruned, "self_attn.q_proj.armor.core_mask", "checksum");
    }

    [Test]
    public void WhatTheBackendCannotDoIsSaidWhenLoading()
    {
        string pruned = FamilyModels.WritePruned(dense, folder.File("pruned"));
        var options = new ArmorModelOptions { Backend = new DenseOnlyBackend() };
        Assert.That(
            () => ArmorModel.Load(pruned, options),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("model.layers.0.self_attn.q_proj").And.Message.Contains("Only dense weights"));
        Assert.That(() => ArmorModel.Load(dense, options).Dispose(), Throws.Nothing);
        Assert.That(
            () => ArmorModel.Load(dense, new ArmorModelOptions { WeightType = TensorElementType.Float64 }),
            Throws.ArgumentException.With.Message.Contains("WeightType"));
    }

    [Test]
    public void APrunedHeadAndEmbeddingAreMultipliedToo()
    {
        ModelConfiguration configuration = FamilyModels.All["Llama 2"];
        FamilyModels.WriteDense(folder.File("source"), configuration);
        using CheckpointFolder source = CheckpointFolder.Open(folder.File("source"));
        ArmorCheckpointWriter.Write(source, folder.File("pruned"), ["lm_head", "model.embed_tokens"], TensorElementType.Float32, name =>
        {
            float[] weight = source.ReadFloat32(name + ".weight");
            for (int i = 0; i < weight.Length; i++)
            {
                weight[i] = (i % 4) < 2 ? weight[i] : 0;
            }

            return new ArmorLayer(null, SparseCore.FromDense(weight, configuration.VocabularySize, configuration.HiddenSize), null);
        });
        using ArmorModel pruned = ArmorModel.Load(folder.File("pruned"));
        using CausalLanguageModel torch = CausalLanguageModel.Load(folder.File("pruned"));
        using var logits = torch.Forward(TorchSharp.torch.tensor(new long[] { 7, 8, 9 }).unsqueeze(0));
        var found = new float[3 * configuration.VocabularySize];
        pruned.ForwardLogits([7, 8, 9], pruned.CreateSession(), found);
        Assert.That(found, Is.EqualTo(logits.data<float>().ToArray()).Within(1e-4f));
    }

    [Test]
    public void LoadingCanBeCancelled() =>
        Assert.That(() => ArmorModel.Load(dense, cancellationToken: new CancellationToken(true)), Throws.InstanceOf<OperationCanceledException>());

    private static void AssertRefused(string model, string name, string problem) =>
        Assert.That(() => ArmorModel.Load(model), Throws.TypeOf<CheckpointException>().With.Message.Contains(name).And.Message.Contains(problem));
}
