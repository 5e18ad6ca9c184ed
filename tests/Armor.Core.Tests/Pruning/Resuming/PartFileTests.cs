using Armor.Core.Pruning;
using Armor.Core.Pruning.Resuming;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Core.Tests.Pruning.Resuming;

public class PartFileTests
{
    private static readonly LinearPruningReport Report = new()
    {
        Name = "model.layers.0.mlp.up_proj",
        Rows = 6,
        Columns = 12,
        OutputBlock = 3,
        InputBlock = 4,
        Loss = 0.1 + 0.2,
        StartLoss = double.Epsilon,
        Seconds = 1e-9,
        Bytes = 123,
        Notes = ["damping raised to 0.1", "\"quoted\""],
    };

    [Test]
    public void ALayerAndItsReportComeBackToTheLastBit(
        [Values(TensorElementType.Float16, TensorElementType.BFloat16, TensorElementType.Float32)] TensorElementType type,
        [Values] bool output,
        [Values] bool input)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("part.safetensors");
        ArmorLayer layer = RandomLayer(output, input).RoundedTo(type);
        PartFile.Write(path, layer, type, Report);
        (ArmorLayer read, LinearPruningReport report) = PartFile.Read(path);

        AssertSame(read.Core.Values, layer.Core.Values);
        Assert.That(read.Core.Mask.ToArray(), Is.EqualTo(layer.Core.Mask.ToArray()));
        Assert.That(read.OutputWrapper is null, Is.EqualTo(!output));
        Assert.That(read.InputWrapper is null, Is.EqualTo(!input));
        AssertSame(read.OutputWrapper?.Values ?? default, layer.OutputWrapper?.Values ?? default);
        AssertSame(read.InputWrapper?.Values ?? default, layer.InputWrapper?.Values ?? default);
        Assert.That(report with { Notes = Report.Notes }, Is.EqualTo(Report));
        Assert.That(report.Notes, Is.EqualTo(Report.Notes));
        Assert.That(Directory.GetFiles(folder.Path), Is.EqualTo(new[] { path }));
    }

    [Test]
    public void AQuantisedCoreComesBackToTheLastBit()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("part.safetensors");
        ArmorLayer layer = RandomLayer(true, true).RoundedTo(TensorElementType.BFloat16, TensorElementType.Int8);
        PartFile.Write(path, layer, TensorElementType.BFloat16, Report);
        SparseCore read = PartFile.Read(path).Layer.Core;
        Assert.That(read.QuantisedValues.ToArray(), Is.EqualTo(layer.Core.QuantisedValues.ToArray()));
        AssertSame(read.Scales, layer.Core.Scales);
        Assert.That(read.Mask.ToArray(), Is.EqualTo(layer.Core.Mask.ToArray()));
    }

    [Test]
    public void AFileThatIsNoPartIsNamed()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("model.safetensors");
        TinyLlama.Write(folder.Path);
        Assert.That(() => PartFile.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains(path));
        File.WriteAllBytes(path, []);
        Assert.That(() => PartFile.Read(path), Throws.TypeOf<CheckpointException>().With.Message.Contains(path));
    }

    private static void AssertSame(ReadOnlyMemory<float> actual, ReadOnlyMemory<float> expected) =>
        Assert.That(
            actual.ToArray().Select(BitConverter.SingleToInt32Bits),
            Is.EqualTo(expected.ToArray().Select(BitConverter.SingleToInt32Bits)));

    private static ArmorLayer RandomLayer(bool output, bool input)
    {
        var random = new Random(3);
        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
        var mask = new byte[6 * 2];
        for (int row = 0; row < 6; row++)
        {
            mask[row * 2] = 0b1010_0110;
            mask[(row * 2) + 1] = 0b1001;
        }

        return new ArmorLayer(
            output ? new BlockDiagonalMatrix(2, 3, Values(18)) : null,
            new SparseCore(6, 12, Values(36), mask),
            input ? new BlockDiagonalMatrix(3, 4, Values(48)) : null);
    }
}
