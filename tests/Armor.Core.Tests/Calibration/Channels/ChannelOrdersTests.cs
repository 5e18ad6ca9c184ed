using Armor.Core.Calibration;
using Armor.Core.Calibration.Channels;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Core.Tests.Families;
using Armor.Core.Tests.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration.Channels;

public sealed class ChannelOrdersTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase("Llama")]
    [TestCase("Phi-3")]
    [TestCase("Mixtral")]
    public void ALayerInOrderHasTheFunctionOfTheSources(string family)
    {
        if (family == "Llama")
        {
            TinyLlama.Write(folder.Path);
        }
        else
        {
            FamilyCheckpoint.Write(family, folder.Path);
        }

        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        ModelConfiguration configuration = checkpoint.Configuration;
        using var plain = new LayerwiseModel(checkpoint, configuration);
        using var ordered = new LayerwiseModel(checkpoint, configuration, orders: new ChannelOrders(configuration, 4, CancellationToken.None));
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        Tensor x = randn([2, 11, configuration.HiddenSize], float64, generator: generator);
        for (int layer = 0; layer < 2; layer++)
        {
            using LoadedLayer source = plain.LoadLayer(layer);
            using LoadedLayer found = ordered.LoadLayer(layer);
            using LoadedLayer again = ordered.LoadLayer(layer);
            using Tensor difference = (found.Layer.Forward(x) - source.Layer.Forward(x)).abs().max();
            Assert.That(difference.item<double>(), Is.LessThan(1e-12));
            foreach ((string name, TorchSharp.Modules.Parameter weight) in source.Layer.Weights)
            {
                bool inner = configuration.Experts is null ? name.StartsWith("mlp.", StringComparison.Ordinal) : name.Contains(".experts.", StringComparison.Ordinal);
                Assert.That(found.Layer.Weights[name].equal(weight).all().item<bool>(), Is.EqualTo(!inner), name);
                Assert.That(found.Layer.Weights[name].equal(again.Layer.Weights[name]).all().item<bool>(), Is.True, name);
            }
        }
    }

    [Test]
    public void ChannelsWithBiasesStayWhereTheyAre()
    {
        using (var model = new CausalLanguageModel(TinyModels.Llama with { MlpBias = true }))
        {
            model.Save(folder.Path, TensorElementType.Float32);
        }

        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var plain = new LayerwiseModel(checkpoint, checkpoint.Configuration);
        using var ordered = new LayerwiseModel(checkpoint, checkpoint.Configuration, orders: new ChannelOrders(checkpoint.Configuration, 4, CancellationToken.None));
        using LoadedLayer source = plain.LoadLayer(0);
        using LoadedLayer found = ordered.LoadLayer(0);
        foreach ((string name, TorchSharp.Modules.Parameter weight) in source.Layer.Weights)
        {
            Assert.That(found.Layer.Weights[name].equal(weight).all().item<bool>(), Is.True, name);
        }
    }

    [Test]
    public void OnlyPrunersWithWrappersOrderChannels()
    {
        foreach (ArmorPrunerOptions preset in new[] { ArmorPrunerOptions.Fast, ArmorPrunerOptions.Balanced, ArmorPrunerOptions.Quality })
        {
            ArmorPrunerOptions blocks = preset with { BlockSize = 8 };
            Assert.That(Orders(blocks), Is.Not.Null);
            Assert.That(Orders(blocks with { Wrappers = WrapperSides.Output }), Is.Not.Null);
            Assert.That(Orders(blocks with { Wrappers = WrapperSides.Input }), Is.Not.Null);
            Assert.That(Orders(blocks with { OrderChannels = false }), Is.Null);
            Assert.That(Orders(blocks with { BlockSize = 1 }), Is.Null);
            Assert.That(Orders(blocks with { BlockSize = null, StorageBudget = 0 }), Is.Null);
            foreach (PruningMethod method in Enum.GetValues<PruningMethod>().Where(method => method != PruningMethod.Armor))
            {
                Assert.That(Orders(blocks with { Method = method }), Is.Null, method.ToString());
            }
        }

        Assert.That(Orders(ArmorPrunerOptions.Paper with { BlockSize = 8 }), Is.Null);

        static ChannelOrders? Orders(ArmorPrunerOptions options) => new ArmorLinearPruner(options).Orders(TinyModels.Llama, CancellationToken.None);
    }
}
