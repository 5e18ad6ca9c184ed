using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Planning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Core.Tests.Pruning;

public class ModelPrunerTests
{
    private static readonly ModelPrunerOptions Quick = new()
    {
        Pruner = ArmorPrunerOptions.Fast with
        {
            BlockSize = 4,
            Stages =
            [
                new PruningStage { Loss = StageLoss.Diagonal, AnnealingCycles = 3, PolishCycles = 2 },
                new PruningStage { Loss = StageLoss.FullHessian, PolishCycles = 2 },
            ],
        },
        TokensPerBatch = 64,
        MaxSamples = 12,
    };

    private TemporaryFolder folder = null!;
    private string model = null!;
    private string output = null!;

    [SetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = TinyLlama.Write(folder.File("model"));
        File.WriteAllText(Path.Combine(model, "LICENSE"), "free");
        output = folder.File("out");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task EveryLinearIsPrunedAndAllElseIsCopied([Values] CalibrationMode mode, [Values] bool ordered)
    {
        ModelPrunerOptions options = Quick with { Calibration = mode, AllocateBlocks = false, Pruner = Quick.Pruner with { BlockSize = 8, OrderChannels = ordered } };
        var progress = new List<ModelPruningProgress>();
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(
            model, output, TinyLlama.Sequences(20), options, new Recorder(progress));

        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EquivalentTo(new[] { model, output }), "nothing but the output remains");
        Assert.That(File.ReadAllText(Path.Combine(output, "LICENSE")), Is.EqualTo("free"));
        using CheckpointFolder dense = CheckpointFolder.Open(model);
        using ArmorCheckpoint pruned = ArmorCheckpoint.Open(output);
        pruned.VerifyChecksums();
        string[] names = [.. ModelShapes.LinearNames(ModelConfiguration.Load(model))];
        Assert.That(pruned.PrunedLinears, Is.EqualTo(names));
        Assert.That(report.Linears.Select(linear => linear.Name), Is.EqualTo(names));
        using var layerwise = new LayerwiseModel(dense, dense.Configuration, orders: new ArmorLinearPruner(options.Pruner).Orders(dense.Configuration, default));
        foreach (LinearPruningReport linear in report.Linears)
        {
            ArmorLayer layer = pruned.ReadLayer(linear.Name);
            float[] weight = Dense(linear.Name);
            float[] product = layer.ToDense();
            double error = weight.Zip(product, (w, p) => Math.Pow(w - p, 2)).Sum() / weight.Sum(w => (double)w * w);
            Assert.That(error, Is.InRange(1e-6, 0.3), linear.Name);
            Assert.That((layer.OutputWrapper?.BlockSize ?? 1, layer.InputWrapper?.BlockSize ?? 1), Is.EqualTo((linear.OutputBlock, linear.InputBlock)));
            Assert.That(linear.Loss, Is.LessThanOrEqualTo(linear.StartLoss));
            Assert.That(linear.Bytes, Is.EqualTo(layer.StorageBytes(TensorElementType.Float16)));
            Assert.That(linear.DenseBytes, Is.EqualTo(2 * weight.Length));
        }

        foreach (string name in dense.Tensors.Keys.Where(name => !names.Contains(name.Replace(".weight", string.Empty, StringComparison.Ordinal))))
        {
            Assert.That(pruned.Base.GetBytes(name).SequenceEqual(dense.GetBytes(name)), Is.True, name);
        }

        Assert.That(progress.Where(record => record.Finished).Select(record => record.Linear), Is.EqualTo(names));
        Assert.That(progress.Where(record => record.Finished).Select(record => record.Index), Is.EqualTo(Enumerable.Range(1, names.Length)));
        Assert.That(progress[^1].Remaining, Is.EqualTo(TimeSpan.Zero));
        Assert.That(progress, Has.Some.Matches<ModelPruningProgress>(record => record is { Finished: false, Loss: > 0 }));

        // In the order in which the run has seen it.
        float[] Dense(string name)
        {
            int index = Enumerable.Range(0, TinyLlama.LayerCount).First(layer => name.StartsWith(ModelShapes.LayerPrefix(layer), StringComparison.Ordinal));
            using LoadedLayer loaded = layerwise.LoadLayer(index);
            return loaded.Layer.GetLinearWeight(name[ModelShapes.LayerPrefix(index).Length..]).data<float>().ToArray();
        }
    }

    [TestCase(TensorElementType.BFloat16, null, TensorElementType.BFloat16)]
    [TestCase(TensorElementType.Float16, null, TensorElementType.Float16)]
    [TestCase(TensorElementType.Float32, null, TensorElementType.Float16)]
    [TestCase(TensorElementType.Float32, TensorElementType.Float32, TensorElementType.Float32)]
    [TestCase(TensorElementType.Float16, TensorElementType.BFloat16, TensorElementType.BFloat16)]
    public async Task StorageFollowsTheSource(TensorElementType source, TensorElementType? wanted, TensorElementType expected)
    {
        TinyLlama.Write(model, type: source);
        await ModelPruner.PruneTokensAsync(model, output, TinyLlama.Sequences(4), Quick with { Storage = wanted });
        using ArmorCheckpoint pruned = ArmorCheckpoint.Open(output);
        Assert.That(pruned.ElementType, Is.EqualTo(expected));
        Assert.That(pruned.SourceElementType, Is.EqualTo(source));
    }

    [Test]
    public async Task QuantisedCoresAreStoredAndReported()
    {
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(model, output, TinyLlama.Sequences(4), Quick with { CoreStorage = TensorElementType.Int8 });
        using ArmorCheckpoint pruned = ArmorCheckpoint.Open(output);
        Assert.That((pruned.ElementType, pruned.CoreType), Is.EqualTo((report.Storage, report.CoreStorage)));
        Assert.That((report.Storage, report.CoreStorage), Is.EqualTo((TensorElementType.Float16, TensorElementType.Int8)));
        foreach (LinearPruningReport linear in report.Linears)
        {
            ArmorLayer layer = pruned.ReadLayer(linear.Name);
            Assert.That(layer.Core.IsQuantised);
            Assert.That(linear.Bytes, Is.EqualTo(layer.StorageBytes(TensorElementType.Float16, TensorElementType.Int8)));
        }
    }

    [Test]
    public async Task LaterLinearsAreCalibratedOnStoredValues()
    {
        // A weight stored coarsely changes the activations after it, and so the following linears' statistics.
        var coarse = new Recording();
        var fine = new Recording();
        await Run(coarse, new ModelPrunerOptions { Storage = TensorElementType.BFloat16 }, folder.File("coarse"));
        await Run(fine, new ModelPrunerOptions { Storage = TensorElementType.Float32 }, folder.File("fine"));
        var quantised = new Recording();
        await Run(quantised, new ModelPrunerOptions { Storage = TensorElementType.Float32, CoreStorage = TensorElementType.Int8 }, folder.File("quantised"));
        Assert.That(coarse.Diagonals[0], Is.EqualTo(fine.Diagonals[0]), "q of layer 0 sees the embedding alone");
        Assert.That(coarse.Diagonals[3], Is.Not.EqualTo(fine.Diagonals[3]), "o of layer 0 sees q, k and v as stored");
        Assert.That(quantised.Diagonals[3], Is.Not.EqualTo(fine.Diagonals[3]));
    }

    [Test]
    public void BadInputIsNamedBeforeAnyWork()
    {
        int[][] sequences = TinyLlama.Sequences(4);
        Assert.That(() => Prune([], Quick), Throws.TypeOf<CalibrationException>().With.Message.Contains("found none"));
        Assert.That(() => Prune([[1]], Quick), Throws.TypeOf<CalibrationException>().With.Message.Contains("shorter"));
        Assert.That(
            () => Prune(sequences, Quick with { MaxSamples = 0, TokensPerBatch = 0, Storage = TensorElementType.Int64, CoreStorage = TensorElementType.BFloat16 }),
            Throws.ArgumentException.With.Message.Contains("MaxSamples").And.Message.Contains("TokensPerBatch").And.Message.Contains("found Int64")
                .And.Message.Contains("CoreStorage must be Int8 or null; found BFloat16"));
        Assert.That(
            () => ModelPruner.PruneAsync(model, output, Array.Empty<string>()),
            Throws.InstanceOf<IOException>().With.Message.Contains("tokenizer"));
        Assert.That(
            () => ModelPruner.PruneTokensAsync(folder.File("missing"), output, sequences), Throws.TypeOf<CheckpointException>().With.Message.Contains("missing"));

        Directory.CreateDirectory(output);
        File.WriteAllText(Path.Combine(output, "mine.txt"), "mine");
        Assert.That(() => Prune(sequences, Quick), Throws.InstanceOf<IOException>().With.Message.Contains("not empty"));
        Assert.That(Directory.Exists(output + ".partial"), Is.False);
    }

    [TestCase(float.NaN)]
    [TestCase(float.NegativeInfinity)]
    public void AWeightThatIsNotFiniteIsNamedBeforeAnyWork(float bad)
    {
        const string Name = "model.layers.1.mlp.down_proj.weight";
        TinyLlama.Write(model, change: (name, values) => values[17] = name == Name ? bad : values[17]);
        Assert.That(() => Prune(TinyLlama.Sequences(4), Quick), Throws.TypeOf<CheckpointException>().With.Message.Contains(Name));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { model }));
    }

    [Test]
    public async Task BlockSizesFollowTheLossWithinTheStorageOfOneSize([Values] bool allocates)
    {
        ModelPrunerOptions options = Quick with { AllocateBlocks = allocates };
        PruningEstimate estimate = await ModelPruner.EstimateTokensAsync(model, output, TinyLlama.Sequences(20), options);
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(model, output, TinyLlama.Sequences(20), options);
        (int, int)[] sizes = [.. report.Linears.Select(linear => (linear.OutputBlock, linear.InputBlock)).Distinct()];
        long wrappers = report.Linears.Sum(linear => ((long)linear.Rows * Values(linear.OutputBlock)) + ((long)linear.Columns * Values(linear.InputBlock)));
        long usual = report.Linears.Sum(linear => 4L * (linear.Rows + linear.Columns));
        long written = Directory.GetFiles(output).Sum(file => new FileInfo(file).Length);
        if (allocates)
        {
            Assert.That(sizes, Has.Length.GreaterThan(1));
            Assert.That(wrappers, Is.InRange(0.8 * usual, usual));
            Assert.That(written, Is.InRange(0.9 * estimate.OutputBytes, estimate.OutputBytes + 512));
        }
        else
        {
            Assert.That(sizes, Is.EqualTo(new[] { (4, 4) }));
            Assert.That(wrappers, Is.EqualTo(usual));
            Assert.That(written, Is.EqualTo(estimate.OutputBytes));
        }

        static int Values(int block) => block == 1 ? 0 : block;
    }

    [TestCase(PruningMethod.Dense24, true)]
    [TestCase(PruningMethod.Armor, false)]
    public async Task NothingIsTriedWhereThereIsNothingToChooseOrToChooseBy(PruningMethod method, bool gradients)
    {
        ModelPrunerOptions options = Quick with { Pruner = Quick.Pruner with { Method = method, GradientWeighting = gradients } };
        var progress = new List<ModelPruningProgress>();
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(model, output, TinyLlama.Sequences(4), options, new Recorder(progress));
        Assert.That(progress.Select(step => step.Linear), Has.None.StartsWith("block sizes"));
        Assert.That(report.Linears.Select(linear => linear.OutputBlock), Is.All.EqualTo(method == PruningMethod.Dense24 ? 1 : 4));
    }

    [TestCase(PruningMethod.Armor, TensorElementType.BFloat16, 2_000_000_000L)]
    [TestCase(PruningMethod.Armor, TensorElementType.Float32, 5_000L)]
    [TestCase(PruningMethod.Dense24, TensorElementType.Float32, 1L)]
    [TestCase(PruningMethod.Wanda, TensorElementType.Float16, 9_000L, "4:8")]
    [TestCase(PruningMethod.Armor, TensorElementType.BFloat16, 5_000L, "2:4", TensorElementType.Int8)]
    [TestCase(PruningMethod.Wanda, TensorElementType.Float32, 1L, "4:8", TensorElementType.Int8)]
    public async Task TheEstimateKnowsTheSizeOfTheOutput(
        PruningMethod method, TensorElementType source, long shard, string pattern = "2:4", TensorElementType? core = null)
    {
        TinyLlama.Write(model, type: source);
        ModelPrunerOptions options = Quick with
        {
            AllocateBlocks = false,
            ShardBytes = shard,
            CoreStorage = core,
            Pruner = Quick.Pruner with { Method = method, Pattern = SparsityPattern.Parse(pattern) },
        };
        PruningEstimate estimate = await ModelPruner.EstimateTokensAsync(model, output, TinyLlama.Sequences(4), options);
        Assert.That(Directory.Exists(output + ".partial"), Is.False);
        await Prune(TinyLlama.Sequences(4), options);
        Assert.That(estimate.OutputBytes, Is.EqualTo(Directory.GetFiles(output).Sum(file => new FileInfo(file).Length)));
        Assert.That(estimate.WorkBytes, Is.GreaterThan(estimate.OutputBytes));
        Assert.That(estimate.FreeBytes, Is.Positive);
        Assert.That(new[] { estimate.CalibrationSeconds, estimate.PruningSeconds, estimate.FileSeconds }, Is.All.Positive);
    }

    [Test]
    public void TooLittleRoomIsToldBeforeAnyWork()
    {
        var disk = new DiskPlan(OutputBytes: 1000, PartBytes: 900, ActivationBytes: 5000);
        Assert.That(() => disk.Require(output, free: 5900, present: 0), Throws.Nothing);
        Assert.That(() => disk.Require(output, free: 1000, present: 4900), Throws.Nothing, "a resumed run has the rest already");
        Assert.That(
            () => disk.Require(output, free: 5899, present: 0),
            Throws.TypeOf<IOException>().With.Message.Contains(output).And.Message.Contains("5900 bytes").And.Message.Contains("5899 free"));
    }

    [Test]
    public async Task APrunedModelIsNotPrunedAgain()
    {
        await Prune(TinyLlama.Sequences(4), Quick);
        Assert.That(
            () => ModelPruner.PruneTokensAsync(output, folder.File("again"), TinyLlama.Sequences(4), Quick),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("pruned already"));
    }

    private Task<ModelPruningReport> Prune(int[][] sequences, ModelPrunerOptions options) => ModelPruner.PruneTokensAsync(model, output, sequences, options);

    private Task<ModelPruningReport> Run(ILinearPruner pruner, ModelPrunerOptions options, string to) => Task.Run(() =>
        new ModelPruningRun(model, to, pruner, options, null, CancellationToken.None).Execute(() => TinyLlama.Sequences(4)));

    private sealed class Recorder(List<ModelPruningProgress> records) : IProgress<ModelPruningProgress>
    {
        public void Report(ModelPruningProgress value) => records.Add(value);
    }

    private sealed class Recording : MagnitudeLinearPruner
    {
        public List<double[]> Diagonals { get; } = [];

        protected override void Seen(string name, ActivationStatistics statistics) => Diagonals.Add(statistics.Diagonal.data<double>().ToArray());
    }
}
