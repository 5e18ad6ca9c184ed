using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Tests.Checkpoints;

public class CheckpointFolderTests
{
    [Test, Category("SharedData")]
    public void TheSharedModelReads()
    {
        using var model = CheckpointFolder.Open(SharedData.Path("models/babyllama361"));
        Assert.That(model.Tensors, Has.Count.EqualTo(47));
        Assert.That(model.GetTensor("model.embed_tokens.weight"), Is.EqualTo(new TensorDescription("model.embed_tokens.weight", TensorElementType.Float32, [361, 128])));
        Assert.That(model.GetTensor("model.layers.4.mlp.down_proj.weight").Shape, Is.EqualTo(new long[] { 128, 352 }));
        var norm = model.ReadFiniteFloat32("model.norm.weight");
        Assert.That(norm, Has.Length.EqualTo(128));
        Assert.That(norm, Has.All.GreaterThan(0f));
    }

    [Test]
    public void ShardsReadAsOne()
    {
        using var folder = new TemporaryFolder();
        WriteShard(folder, "model-00001-of-00002.safetensors", ("a", 1f), ("b", 2f));
        WriteShard(folder, "model-00002-of-00002.safetensors", ("c", 3f), ("unlisted", 4f));
        WriteIndex(folder, "\"c\":\"model-00002-of-00002.safetensors\",\"a\":\"model-00001-of-00002.safetensors\",\"b\":\"model-00001-of-00002.safetensors\"");

        using var model = CheckpointFolder.Open(folder.Path);

        Assert.That(model.TensorsInFileOrder.Select(tensor => tensor.Name), Is.EqualTo(["a", "b", "c"]));
        Assert.That(model.ReadFloat32("c"), Is.EqualTo([3f]));
        Assert.That(model.Contains("unlisted"), Is.False);
        var error = Assert.Throws<CheckpointException>(() => model.GetBytes("d"))!;
        Assert.That((error.FilePath, error.Tensor), Is.EqualTo((folder.Path, "d")));
    }

    [Test]
    public void AMissingShardIsNamed()
    {
        using var folder = new TemporaryFolder();
        WriteIndex(folder, "\"a\":\"model-00001-of-00001.safetensors\"");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path))!;
        Assert.That(error.FilePath, Does.EndWith("model.safetensors.index.json"));
        Assert.That((error.Tensor, error.Problem, error.Expected), Is.EqualTo(("a", "a shard is missing", "the file model-00001-of-00001.safetensors beside the index")));
    }

    [Test]
    public void ATensorMissingInItsShardIsNamed()
    {
        using var folder = new TemporaryFolder();
        WriteShard(folder, "s.safetensors", ("a", 1f));
        WriteIndex(folder, "\"a\":\"s.safetensors\",\"b\":\"s.safetensors\"");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path))!;
        Assert.That(error.FilePath, Does.EndWith("s.safetensors"));
        Assert.That((error.Tensor, error.Found), Is.EqualTo(("b", "1 others")));
    }

    [TestCase("../s.safetensors")]
    [TestCase("/etc/s.safetensors")]
    [TestCase("..\\\\s.safetensors")]
    [TestCase("C:s.safetensors")]
    [TestCase("..")]
    [TestCase("")]
    public void AShardOutsideTheFolderIsRefused(string shard)
    {
        using var folder = new TemporaryFolder();
        WriteIndex(folder, $"\"a\":\"{shard}\"");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo(("a", $"\"{shard}\"")));
        Assert.That(error.Expected, Is.EqualTo("the name of a file beside the index"));
    }

    [TestCase("[]", "is not a JSON object")]
    [TestCase("{", "is not valid JSON")]
    [TestCase("{\"weight_map\":3}", "no weight_map")]
    [TestCase("{\"weight_map\":{}}", "the index lists no tensor")]
    [TestCase("{\"weight_map\":{\"a\":3}}", "not a plain file name")]
    public void ABrokenIndexIsNamed(string index, string problem)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("model.safetensors.index.json"), index);
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path))!;
        Assert.That(error.FilePath, Does.EndWith("model.safetensors.index.json"));
        Assert.That(error.Problem, Does.Contain(problem));
    }

    [Test]
    public void ATensorTwiceInTheIndexIsRefused()
    {
        using var folder = new TemporaryFolder();
        WriteShard(folder, "s.safetensors", ("a", 1f));
        WriteIndex(folder, "\"a\":\"s.safetensors\",\"a\":\"s.safetensors\"");
        Assert.That(() => CheckpointFolder.Open(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("twice in the index"));
    }

    [TestCase("{\"model_type\":\"\\uD800\"}")]
    [TestCase("{\"model_type\":")]
    [TestCase("[]")]
    [TestCase(null)]
    public void ABrokenConfigurationIsNamed(string? configuration)
    {
        using var folder = new TemporaryFolder();
        WriteShard(folder, "model.safetensors", ("a", 1f));
        if (configuration is not null)
        {
            File.WriteAllText(folder.File("config.json"), configuration);
        }

        using var model = CheckpointFolder.Open(folder.Path);
        Assert.That(() => model.Configuration, Throws.TypeOf<CheckpointException>().With.Message.StartsWith(folder.File("config.json")));
    }

    [Test]
    public void AFolderWithoutWeightsIsNamed()
    {
        using var folder = new TemporaryFolder();
        Assert.That(() => CheckpointFolder.Open(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("no safetensors weights"));
        Assert.That(() => CheckpointFolder.Open(folder.File("none")), Throws.TypeOf<CheckpointException>().With.Message.Contains("folder is missing"));
    }

    [TestCase(float.NaN)]
    [TestCase(float.NegativeInfinity)]
    public void AValueThatIsNotFiniteIsNamed(float value)
    {
        using var folder = new TemporaryFolder();
        using (var writer = SafetensorsWriter.Create(folder.File("model.safetensors"), [new("w", TensorElementType.Float32, [5, 20])]))
        {
            var values = new float[100];
            values[97] = value;
            writer.WriteFloat32("w", values);
            writer.Commit();
        }

        using var model = CheckpointFolder.Open(folder.Path);
        var error = Assert.Throws<CheckpointException>(() => model.ReadFiniteFloat32("w"))!;
        Assert.That((error.FilePath, error.Tensor), Is.EqualTo((folder.File("model.safetensors"), "w")));
        Assert.That(error.Found, Does.EndWith("at element 97 of [5, 20]"));
    }

    private static void WriteShard(TemporaryFolder folder, string name, params (string Name, float Value)[] tensors)
    {
        using var writer = SafetensorsWriter.Create(folder.File(name), [.. tensors.Select(t => new TensorDescription(t.Name, TensorElementType.Float32, [1]))]);
        foreach (var tensor in tensors)
        {
            writer.WriteFloat32(tensor.Name, [tensor.Value]);
        }

        writer.Commit();
    }

    private static void WriteIndex(TemporaryFolder folder, string map)
        => File.WriteAllText(folder.File("model.safetensors.index.json"), $"{{\"metadata\":{{}},\"weight_map\":{{{map}}}}}");
}
