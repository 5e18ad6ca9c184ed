using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>Layers of several pieces, read on one thread and on some.</summary>
internal sealed class CheckedReadingTests
{
    private const string Linear = "linear";
    private const int Rows = 300;
    private const int Columns = 2052;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void ThreadsReadTheSame([Values] bool isQuantised)
    {
        var output = Write(isQuantised);
        using var checkpoint = ArmorCheckpoint.Open(output);
        var expected = checkpoint.ReadLayer(Linear);
        var arrays = new LayerArrays();
        for (var round = 0; round < 2; round++)
        {
            var found = checkpoint.ReadLayer(Linear, arrays, new ParallelOptions { MaxDegreeOfParallelism = 3 });
            Assert.That(found.Core.Values.ToArray(), Is.EqualTo(expected.Core.Values.ToArray()));
            Assert.That(found.Core.Mask.ToArray(), Is.EqualTo(expected.Core.Mask.ToArray()));
            Assert.That(found.OutputWrapper!.Values.ToArray(), Is.EqualTo(expected.OutputWrapper!.Values.ToArray()));
            arrays.Return();
        }

        Assert.That(() => checkpoint.VerifyChecksums(), Throws.Nothing);
    }

    /// <summary>A flipped bit in each of the three pieces of the values.</summary>
    [Test]
    public void ThreadsFindDamage([Values(0, 1, 2)] int piece)
    {
        var output = Write(isQuantised: false);
        var path = Path.Combine(output, "model.safetensors");
        long offset;
        using (var file = SafetensorsFile.Open(path))
        {
            var values = file.GetBytes(Linear + ".armor.core_values");
            offset = File.ReadAllBytes(path).AsSpan().IndexOf(values) + (piece << 18) + 17;
        }

        using (var stream = File.Open(path, FileMode.Open))
        {
            stream.Position = offset;
            var value = stream.ReadByte();
            stream.Position = offset;
            stream.WriteByte((byte)(value ^ 1));
        }

        using var checkpoint = ArmorCheckpoint.Open(output);
        Assert.That(
            () => checkpoint.ReadLayer(Linear, new LayerArrays(), new ParallelOptions { MaxDegreeOfParallelism = 3 }),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("core_values").And.Message.Contains("differs from its checksum"));
        Assert.That(() => checkpoint.ReadLayer(Linear), Throws.TypeOf<CheckpointException>().With.Message.Contains("differs from its checksum"));
    }

    private string Write(bool isQuantised)
    {
        var dense = folder.File("dense");
        Directory.CreateDirectory(dense);
        using (var writer = SafetensorsWriter.Create(Path.Combine(dense, "model.safetensors"), [new(Linear + ".weight", TensorElementType.BFloat16, [Rows, Columns])]))
        {
            writer.WriteFloat32(Linear + ".weight", new float[Rows * Columns]);
            writer.Commit();
        }

        File.WriteAllText(Path.Combine(dense, "config.json"), TinyModel.Configuration);
        using var source = CheckpointFolder.Open(dense);
        var output = folder.File("armor");
        ArmorCheckpointWriter.Write(
            source, output, [Linear], TensorElementType.BFloat16, _ => Generators.RandomLayer(Rows, Columns, 4, null, 3), coreType: isQuantised ? TensorElementType.Int8 : null);
        return output;
    }
}
