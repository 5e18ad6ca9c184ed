using System.Runtime.InteropServices;
using System.Text.Json;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Tests.Checkpoints;

public class ExportTests
{
    [TestCase(TensorElementType.Float32)]
    [TestCase(TensorElementType.BFloat16)]
    public void TheDenseExportHoldsTheProductInTheTypeOfTheSource(TensorElementType source)
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"), source);
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));
        using (var armor = ArmorCheckpoint.Open(folder.File("armor")))
        {
            DenseExport.Write(armor, folder.File("export"));
        }

        using var dense = CheckpointFolder.Open(folder.File("dense"));
        using var export = CheckpointFolder.Open(folder.File("export"));
        Assert.That(export.Tensors.Values, Is.EquivalentTo(dense.Tensors.Values));
        foreach (var linear in TinyModel.Linears)
        {
            Assert.That(export.ReadFloat32(linear + ".weight"), Is.EqualTo(FloatConversion.Rounded(source, TinyModel.Layer(linear).ToDense())));
        }

        Assert.That(export.GetBytes("model.embed_tokens.weight").ToArray(), Is.EqualTo(dense.GetBytes("model.embed_tokens.weight").ToArray()));
        Assert.That(export.Files[0].Metadata, Is.EquivalentTo(dense.Files[0].Metadata));
        Assert.That(File.Exists(folder.File("export/tokenizer.json")), Is.True);
        using var before = JsonDocument.Parse(TinyModel.Configuration);
        using var after = JsonDocument.Parse(File.ReadAllText(folder.File("export/config.json")));
        Assert.That(JsonElement.DeepEquals(before.RootElement, after.RootElement), Is.True);
        Assert.That(ArmorCheckpoint.IsArmor(folder.File("export")), Is.False);
    }

    [Test]
    public void TheDenseExportOmitsASparsityConfiguration()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        File.WriteAllText(folder.File("dense/config.json"), """{"sparsity_config":{},"quantization_config":{"a":1,"sparsity_config":{}}}""");
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        DenseExport.Write(armor, folder.File("export"), TensorElementType.Float16);
        Assert.That(File.ReadAllText(folder.File("export/config.json")), Does.Not.Contain("sparsity_config").And.Contain("\"a\": 1"));
    }

    [Test]
    public void TheBitmaskExportHoldsTheCore()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), TensorElementType.BFloat16, wrapped: false);
        var steps = new List<ExportProgress>();
        using (var armor = ArmorCheckpoint.Open(folder.File("armor")))
        {
            Sparse24Export.Write(armor, folder.File("export"), new Listener(steps));
        }

        Assert.That(steps, Is.EqualTo([new ExportProgress(1, 2, TinyModel.First), new ExportProgress(2, 2, TinyModel.Second)]));
        using var export = CheckpointFolder.Open(folder.File("export"));
        foreach (var linear in TinyModel.Linears)
        {
            var core = TinyModel.Layer(linear, wrapped: false).Core.RoundedTo(TensorElementType.BFloat16);
            Assert.That(export.GetTensor(linear + ".compressed"), Is.EqualTo(new TensorDescription(linear + ".compressed", TensorElementType.BFloat16, [core.Rows, core.Columns / 2])));
            Assert.That(export.ReadFloat32(linear + ".compressed"), Is.EqualTo(core.Values.ToArray()));
            Assert.That(export.GetBytes(linear + ".bitmask").ToArray(), Is.EqualTo(core.Mask.ToArray()));
            Assert.That(export.GetTensor(linear + ".shape").Shape, Is.EqualTo(new long[] { 2, 1 }));
            Assert.That(MemoryMarshal.Cast<byte, long>(export.GetBytes(linear + ".shape")).ToArray(), Is.EqualTo(new long[] { core.Rows, core.Columns }));
        }

        using var json = JsonDocument.Parse(File.ReadAllText(folder.File("export/config.json")));
        var sparsity = json.RootElement.GetProperty("quantization_config").GetProperty("sparsity_config");
        Assert.That(sparsity.GetProperty("format").GetString(), Is.EqualTo("sparse-24-bitmask"));
        Assert.That(json.RootElement.TryGetProperty("armor", out _), Is.False);
    }

    [Test]
    public void TheBitmaskExportRefusesWrappers()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        var error = Assert.Throws<CheckpointException>(() => Sparse24Export.Write(armor, folder.File("export")))!;
        Assert.That((error.FilePath, error.Tensor, error.Found), Is.EqualTo((folder.File("armor"), TinyModel.First, "input blocks of 6, output blocks of 4")));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(2));
    }

    [Test]
    public void ADamagedSourceLeavesNoExport()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"));
        var bytes = File.ReadAllBytes(folder.File("armor/model.safetensors"));
        bytes[8 + (int)BitConverter.ToInt64(bytes)] ^= 1;
        File.WriteAllBytes(folder.File("armor/model.safetensors"), bytes);
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        Assert.That(() => DenseExport.Write(armor, folder.File("export")), Throws.TypeOf<CheckpointException>().With.Message.Contains("checksum"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(2));
    }

    private sealed class Listener(List<ExportProgress> steps) : IProgress<ExportProgress>
    {
        public void Report(ExportProgress value) => steps.Add(value);
    }
}
