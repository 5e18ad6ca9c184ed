using System.Text.Json;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Checkpoints;

public class ArmorCheckpointTests
{
    [TestCase(TensorElementType.Float32)]
    [TestCase(TensorElementType.Float16)]
    [TestCase(TensorElementType.BFloat16)]
    public void LayersComeBackRoundedToTheirType(TensorElementType type)
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), type);

        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        Assert.That(armor.PrunedLinears, Is.EqualTo(TinyModel.Linears));
        Assert.That((armor.ElementType, armor.SourceElementType), Is.EqualTo((type, TensorElementType.Float32)));
        foreach (var linear in armor.PrunedLinears)
        {
            var expected = TinyModel.Layer(linear).RoundedTo(type);
            var actual = armor.ReadLayer(linear);
            Assert.That(actual.Core.Values.ToArray(), Is.EqualTo(expected.Core.Values.ToArray()));
            Assert.That(actual.Core.Mask.ToArray(), Is.EqualTo(expected.Core.Mask.ToArray()));
            Assert.That(actual.InputWrapper?.Values.ToArray(), Is.EqualTo(expected.InputWrapper?.Values.ToArray()));
            Assert.That(actual.OutputWrapper?.Values.ToArray(), Is.EqualTo(expected.OutputWrapper?.Values.ToArray()));
            Assert.That(armor.GetLayer(linear).Bytes, Is.EqualTo(expected.StorageBytes(type)));
        }

        Assert.That(
            armor.GetLayer(TinyModel.Second),
            Is.EqualTo(new ArmorLayerDescription(TinyModel.Second, 12, 8, null, 2, TinyModel.Layer(TinyModel.Second).StorageBytes(type), 12 * 8 * 4)));
        Assert.That(() => armor.VerifyChecksums(), Throws.Nothing);
    }

    [Test]
    public void EverythingElseIsCopied()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));

        Assert.That(Directory.GetFileSystemEntries(folder.Path).Select(Path.GetFileName), Is.EquivalentTo(["armor", "dense"]));
        Assert.That(
            Directory.GetFileSystemEntries(folder.File("armor")).Select(Path.GetFileName),
            Is.EquivalentTo(["config.json", "model.safetensors", "tokenizer.json"]));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        foreach (var name in new[] { "model.embed_tokens.weight", TinyModel.First + ".bias", "empty" })
        {
            Assert.That(armor.Base.GetTensor(name), Is.EqualTo(dense.GetTensor(name)));
            Assert.That(armor.Base.GetBytes(name).ToArray(), Is.EqualTo(dense.GetBytes(name).ToArray()));
        }

        Assert.That(armor.Base.Contains(TinyModel.First + ".weight"), Is.False);
        Assert.That(armor.Base.Files[0].Metadata["format"], Is.EqualTo("pt"));
        var text = File.ReadAllText(folder.File("armor/config.json"));
        Assert.That(text, Does.Contain("\"rms_norm_eps\": 1e-05,\n").And.Contain("Café <s>"));
        using var json = JsonDocument.Parse(text);
        Assert.That(json.RootElement.GetProperty("armor").GetProperty("version").GetInt32(), Is.EqualTo(1));
        Assert.That(json.RootElement.GetProperty("armor").GetProperty("pattern").GetString(), Is.EqualTo("2:4"));
    }

    [Test]
    public void EqualInputGivesEqualBytes()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("a"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("b"));
        foreach (var path in Directory.GetFiles(folder.File("a")))
        {
            Assert.That(File.ReadAllBytes(path), Is.EqualTo(File.ReadAllBytes(Path.Combine(folder.File("b"), Path.GetFileName(path)))));
        }
    }

    [Test]
    public void AShardedSourceGivesTheSameLayers()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("single"));
        TinyModel.WriteDense(folder.File("sharded"));
        File.Move(folder.File("sharded/model.safetensors"), folder.File("sharded/shard.safetensors"));
        using (var single = CheckpointFolder.Open(folder.File("single")))
        {
            var map = string.Join(",", single.Tensors.Keys.Select(name => $"\"{name}\":\"shard.safetensors\""));
            File.WriteAllText(folder.File("sharded/model.safetensors.index.json"), $"{{\"weight_map\":{{{map}}}}}");
        }

        TinyModel.WriteArmor(folder.File("single"), folder.File("a"));
        TinyModel.WriteArmor(folder.File("sharded"), folder.File("b"));
        Assert.That(File.ReadAllBytes(folder.File("b/model.safetensors")), Is.EqualTo(File.ReadAllBytes(folder.File("a/model.safetensors"))));
        Assert.That(File.Exists(folder.File("b/model.safetensors.index.json")), Is.False);
    }

    [Test]
    public void ShardsReadBackAsOneFolderAndKeepToTheirLimit()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("whole"));
        foreach (long limit in new[] { 1L, 200, 300, 500 })
        {
            string output = folder.File("shards" + limit);
            using (var source = CheckpointFolder.Open(folder.File("dense")))
            {
                ArmorCheckpointWriter.Write(source, output, TinyModel.Linears, TensorElementType.Float32, linear => TinyModel.Layer(linear), shardBytes: limit);
            }

            using var whole = ArmorCheckpoint.Open(folder.File("whole"));
            using var armor = ArmorCheckpoint.Open(output);
            armor.VerifyChecksums();
            Assert.That(armor.PrunedLinears, Is.EqualTo(TinyModel.Linears));
            Assert.That(armor.Base.TensorsInFileOrder, Is.EqualTo(whole.Base.TensorsInFileOrder));
            Assert.That(armor.Base.Files, Has.Count.GreaterThan(1));
            foreach (var tensor in whole.Base.TensorsInFileOrder)
            {
                Assert.That(armor.Base.GetBytes(tensor.Name).SequenceEqual(whole.Base.GetBytes(tensor.Name)), Is.True, tensor.Name);
            }

            foreach (var (file, number) in armor.Base.Files.Select((file, index) => (file, index + 1)))
            {
                Assert.That(Path.GetFileName(file.Path), Is.EqualTo($"model-{number:00000}-of-{armor.Base.Files.Count:00000}.safetensors"));
                Assert.That(file.TensorsInFileOrder.Count(tensor => tensor.ByteCount > 0) == 1 || file.Tensors.Values.Sum(tensor => tensor.ByteCount) <= limit);
                Assert.That(file.Metadata["format"], Is.EqualTo("pt"));
            }

            Assert.That(
                Directory.GetFiles(output).Select(path => Path.GetFileName(path)),
                Is.EquivalentTo((string[])["config.json", "tokenizer.json", "model.safetensors.index.json", .. armor.Base.Files.Select(file => Path.GetFileName(file.Path))]));
        }
    }

    [Test]
    public void IsArmorTellsTheFoldersApart()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));
        Assert.That(ArmorCheckpoint.IsArmor(folder.File("dense")), Is.False);
        Assert.That(ArmorCheckpoint.IsArmor(folder.Path), Is.False);
        Assert.That(ArmorCheckpoint.IsArmor(folder.File("armor")), Is.True);
        Assert.That(
            () => ArmorCheckpoint.Open(folder.File("dense")),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("not an ARMOR checkpoint"));
        using var armor = CheckpointFolder.Open(folder.File("armor"));
        Assert.That(
            () => ArmorCheckpointWriter.Create(armor, folder.File("again"), [], TensorElementType.Float32),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("already an ARMOR checkpoint"));
    }

    [Test]
    public void AnOutputFolderThatIsNotEmptyIsRefusedBeforeAnyWork()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        Directory.CreateDirectory(folder.File("armor"));
        File.WriteAllText(folder.File("armor/mine.txt"), "keep");
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        var error = Assert.Throws<CheckpointException>(() =>
            ArmorCheckpointWriter.Write(dense, folder.File("armor"), TinyModel.Linears, TensorElementType.Float32, _ => throw new AssertionException("work began")))!;
        Assert.That((error.FilePath, error.Problem, error.Found), Is.EqualTo((folder.File("armor"), "the output folder is not empty", "mine.txt")));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(2));
    }

    [Test]
    public void AnEmptyOutputFolderAndTheRestOfAKilledRunAreReplaced()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        Directory.CreateDirectory(folder.File("armor"));
        Directory.CreateDirectory(folder.File(".armor.partial"));
        File.WriteAllText(folder.File(".armor.partial/model.safetensors.partial"), "half");
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor") + "/");
        Assert.That(ArmorCheckpoint.IsArmor(folder.File("armor")), Is.True);
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(2));
    }

    [Test]
    public void AFailureOrCancellationLeavesNothing()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() => ArmorCheckpointWriter.Write(
            dense,
            folder.File("armor"),
            TinyModel.Linears,
            TensorElementType.Float32,
            linear =>
            {
                source.Cancel();
                return TinyModel.Layer(linear);
            },
            cancellationToken: source.Token));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(1));
    }

    [Test]
    public void LayersMustFitAndComeInOrder()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        using var writer = ArmorCheckpointWriter.Create(dense, folder.File("armor"), TinyModel.Linears, TensorElementType.Float32);
        Assert.That(() => writer.Write(TinyModel.Second, TinyModel.Layer(TinyModel.Second)), Throws.InvalidOperationException.With.Message.Contains("up_proj' is due"));
        var error = Assert.Throws<CheckpointException>(() => writer.Write(TinyModel.First, TinyModel.Layer(TinyModel.Second)))!;
        Assert.That((error.Tensor, error.Expected, error.Found), Is.EqualTo((TinyModel.First, "[8, 12]", "[12, 8]")));
        Assert.That(() => writer.Commit(), Throws.InvalidOperationException.With.Message.Contains("2 linears are not written"));
    }

    [Test]
    public void AValueThatIsNotFiniteIsRefused()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        var core = TinyModel.Layer(TinyModel.First).Core;
        var values = core.Values.ToArray();
        values[13] = float.NaN;
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpointWriter.Write(
            dense, folder.File("armor"), [TinyModel.First], TensorElementType.Float32, _ => new ArmorLayer(null, new SparseCore(8, 12, values, core.Mask.ToArray()), null)))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo((TinyModel.First + ".armor.core_values", "NaN at element 13 of [8, 6]")));
    }

    [Test]
    public void ALinearThatIsMissingOrHasNo24ShapeIsRefused()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        var missing = Assert.Throws<CheckpointException>(() => ArmorCheckpointWriter.Create(dense, folder.File("armor"), ["model.none"], TensorElementType.Float32))!;
        Assert.That(missing.Tensor, Is.EqualTo("model.none.weight"));
        Assert.That(() => ArmorCheckpointWriter.Create(dense, folder.File("armor"), TinyModel.Linears, TensorElementType.Int8), Throws.ArgumentException);
        Assert.That(() => ArmorCheckpointWriter.Create(dense, folder.File("armor"), ["a", "a"], TensorElementType.Float32), Throws.ArgumentException);
    }

    [Test, Category("SharedData")]
    public void TheSharedModelsGoThere([Values("babyllama361", "stories260K")] string name)
    {
        using var folder = new TemporaryFolder();
        using var dense = CheckpointFolder.Open(SharedData.Path($"models/{name}"));
        var linears = ModelShapes.LinearNames(dense.Configuration).ToArray();
        ArmorCheckpointWriter.Write(dense, folder.File("armor"), linears, TensorElementType.BFloat16, linear =>
        {
            var shape = dense.GetTensor(linear + ".weight").Shape;
            return Generators.RandomLayer((int)shape[0], (int)shape[1], 4, 4, 1);
        });
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        Assert.That(armor.PrunedLinears, Is.EqualTo(linears));
        Assert.That(armor.Base.Configuration.HiddenSize, Is.EqualTo(dense.Configuration.HiddenSize));
        Assert.That(File.Exists(folder.File("armor/tokenizer.model")), Is.True);
        armor.VerifyChecksums();

        // What is kept for the header and not needed is given back.
        var data = armor.Base.TensorsInFileOrder.Sum(tensor => tensor.ByteCount);
        using var stream = File.OpenRead(folder.File("armor/model.safetensors"));
        using var reader = new BinaryReader(stream);
        var header = new string(reader.ReadChars((int)reader.ReadInt64()));
        Assert.That(stream.Length, Is.EqualTo(data + 8 + header.Length));
        Assert.That(header.Length - header.TrimEnd().Length, Is.LessThan(8 + (stream.Length / 4096)));
    }
}
