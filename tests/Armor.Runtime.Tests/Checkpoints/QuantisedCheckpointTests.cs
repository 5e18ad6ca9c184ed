using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>Checkpoints of version 2, whose cores are quantised.</summary>
public class QuantisedCheckpointTests
{
    private const TensorElementType I8 = TensorElementType.Int8;
    private const string Values = TinyModel.First + ".armor.core_values";
    private const string Scales = TinyModel.First + ".armor.core_scales";

    [TestCase(TensorElementType.Float32)]
    [TestCase(TensorElementType.Float16)]
    [TestCase(TensorElementType.BFloat16)]
    public void LayersComeBackToTheLastBit(TensorElementType type)
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), type, coreType: I8);
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        armor.VerifyChecksums();
        Assert.That((armor.ElementType, armor.CoreType), Is.EqualTo((type, I8)));
        foreach (var linear in armor.PrunedLinears)
        {
            var expected = TinyModel.Layer(linear).RoundedTo(type, I8);
            var actual = armor.ReadLayer(linear);
            Assert.That(actual.Core.QuantisedValues.ToArray(), Is.EqualTo(expected.Core.QuantisedValues.ToArray()));
            Assert.That(actual.Core.Scales.ToArray(), Is.EqualTo(expected.Core.Scales.ToArray()));
            Assert.That(actual.Core.Mask.ToArray(), Is.EqualTo(expected.Core.Mask.ToArray()));
            Assert.That(actual.ToDense(), Is.EqualTo(expected.ToDense()));
            Assert.That(armor.GetLayer(linear).Bytes, Is.EqualTo(expected.StorageBytes(type, I8)));
        }

        using var json = JsonDocument.Parse(File.ReadAllText(folder.File("armor/config.json")));
        var format = json.RootElement.GetProperty("armor");
        Assert.That((format.GetProperty("version").GetInt32(), format.GetProperty("core_element_type").GetString()), Is.EqualTo((2, "I8")));
    }

    [Test]
    public void CoresOfFloatsAndQuantisedOnesGiveEqualBytesOfTheForetoldSize()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("floats"), TensorElementType.BFloat16, coreType: I8);
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        ArmorCheckpointWriter.Write(
            dense, folder.File("rounded"), TinyModel.Linears, TensorElementType.BFloat16, linear => TinyModel.Layer(linear).RoundedTo(TensorElementType.BFloat16, I8), coreType: I8);
        AssertSameFolders(folder.File("floats"), folder.File("rounded"));

        using var armor = ArmorCheckpoint.Open(folder.File("floats"));
        Assert.That(
            ArmorCheckpointWriter.OutputBytes(dense, armor.Layers, TensorElementType.BFloat16, coreType: I8),
            Is.EqualTo(Directory.GetFiles(folder.File("floats")).Sum(file => new FileInfo(file).Length)));
    }

    [Test]
    public void AnUpdateRoundsCoresAgain()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), TensorElementType.BFloat16, coreType: I8);
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        ArmorCheckpointUpdate.Write(armor, folder.File("same"), armor.ReadLayer);
        AssertSameFolders(folder.File("armor"), folder.File("same"));

        ArmorCheckpointUpdate.Write(armor, folder.File("floats"), linear => TinyModel.Layer(linear));
        AssertSameFolders(folder.File("armor"), folder.File("floats"));

        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpointUpdate.Write(armor, folder.File("bad"), linear => Changed(TinyModel.Layer(linear), float.NaN)))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo((Values, "NaN at element 3 of [8, 6]")));
        Assert.That(Directory.Exists(folder.File("bad")), Is.False);
    }

    [Test]
    public void ExportsHoldTheProductOfValuesAndScales()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), wrapped: false, coreType: I8);
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        DenseExport.Write(armor, folder.File("whole"));
        Sparse24Export.Write(armor, folder.File("sparse"));
        using var whole = CheckpointFolder.Open(folder.File("whole"));
        using var sparse = CheckpointFolder.Open(folder.File("sparse"));
        foreach (var linear in TinyModel.Linears)
        {
            var core = TinyModel.Layer(linear, wrapped: false).Core.RoundedTo(I8);
            Assert.That(whole.ReadFloat32(linear + ".weight"), Is.EqualTo(core.ToDense()));
            Assert.That(sparse.ReadFloat32(linear + ".compressed"), Is.EqualTo(core.Values.ToArray()));
        }
    }

    [Test]
    public void WhatCannotBeWrittenIsRefused()
    {
        using var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        using var dense = CheckpointFolder.Open(folder.File("dense"));
        Assert.That(
            () => ArmorCheckpointWriter.Create(dense, folder.File("armor"), TinyModel.Linears, TensorElementType.BFloat16, coreType: TensorElementType.Float16),
            Throws.ArgumentException.With.Message.Contains("here BF16, or as I8, not F16"));
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpointWriter.Write(
            dense, folder.File("armor"), TinyModel.Linears, TensorElementType.BFloat16, linear => Changed(TinyModel.Layer(linear), float.PositiveInfinity), coreType: I8))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo((Values, "Infinity at element 3 of [8, 6]")));
        Assert.That(Directory.Exists(folder.File("armor")), Is.False);
    }

    private static IEnumerable<TestCaseData> BrokenParts()
    {
        yield return HostileArmorTests.Part("ScalesMissing", list => list.RemoveAll(t => t.Name == Scales), Scales, "the tensor is missing", "a tensor of this name");
        yield return HostileArmorTests.Part("ValuesMissing", list => list.RemoveAll(t => t.Name == Values), null, "the core's values are missing", Values);
        yield return HostileArmorTests.Part("ScalesType", HostileArmorTests.Change(Scales, TensorElementType.Float32, 8, 1), Scales, "type or shape does not agree with the core", "BF16 [8, 1]");
        yield return HostileArmorTests.Part("ScalesShape", HostileArmorTests.Change(Scales, TensorElementType.BFloat16, 8, 2), Scales, "type or shape does not agree with the core", "BF16 [8, 1]");
        yield return HostileArmorTests.Part("ScalesFlat", HostileArmorTests.Change(Scales, TensorElementType.BFloat16, 8), Scales, "type or shape does not agree with the core", "BF16 [8, 1]");
        yield return HostileArmorTests.Part("ValuesType", HostileArmorTests.Change(Values, TensorElementType.Float32, 8, 6), Values, "type or shape does not agree with the core", "I8 [8, 6]");
        yield return HostileArmorTests.Part("ValuesUnsigned", HostileArmorTests.Change(Values, TensorElementType.UInt8, 8, 6), Values, "type or shape does not agree with the core", "I8 [8, 6]");
        yield return HostileArmorTests.Part("Unknown", list => list.Add(new(TinyModel.First + ".armor.core_zeros", I8, [8, 1])), TinyModel.First + ".armor.core_zeros", "the ARMOR tensor is unknown", "core_values, core_scales, core_mask, input_blocks or output_blocks");
    }

    [TestCaseSource(nameof(BrokenParts))]
    public void ABrokenPartIsNamed(Action<List<TensorDescription>> change, string? tensor, string problem, string expected)
    {
        using var folder = HostileArmorTests.Armor(I8);
        HostileArmorTests.Rewrite(folder, change, checksums: true, _ => { });
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That((error.Tensor, error.Problem, error.Expected), Is.EqualTo((tensor ?? error.Tensor, problem, expected)));
    }

    [TestCase("\"version\": 2", "\"version\": 1", "nothing", "\"I8\"")]
    [TestCase("\"core_element_type\": \"I8\"", "\"core_element_type\": \"U8\"", "\"I8\"", "\"U8\"")]
    [TestCase("\"core_element_type\": \"I8\"", "\"core_element_type\": 8", "\"I8\"", "8")]
    public void AVersionThatIsNotTheCoresIsNamed(string from, string to, string expected, string found)
    {
        using var folder = HostileArmorTests.Armor(I8);
        var path = folder.File("armor/config.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace(from, to));
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That((error.FilePath, error.Expected, error.Found), Is.EqualTo((path, expected, found)));
        Assert.That(error.Problem, Does.Contain("core_element_type"));
    }

    /// <summary>A byte of a value; the upper bytes of a scale: −1, infinity, NaN, and a scale of which 127 are not finite.</summary>
    [TestCase(Values, 9, 0x80, "-128 at element 9 of [8, 6]")]
    [TestCase(Scales, 5, 0xBF, "-1 at element 2 of [8, 1]")]
    [TestCase(Scales, 5, 0x7F, "Infinity at element 2 of [8, 1]")]
    [TestCase(Scales, 5, 0xFF, "-Infinity at element 2 of [8, 1]")]
    [TestCase(Scales, 5, 0x7E, "at element 2 of [8, 1]")]
    public void AValueOutOfRangeIsNamedAtItsPlace(string tensor, int place, int value, string found)
    {
        using var folder = HostileArmorTests.Armor(I8);
        Overwrite(folder.File("armor/model.safetensors"), tensor, bytes =>
        {
            bytes[place] = (byte)value;
            if (tensor == Scales)
            {
                bytes[place - 1] = 0x80;
            }
        });
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        var error = Assert.Throws<CheckpointException>(() => armor.ReadLayer(TinyModel.First))!;
        Assert.That(error.Tensor, Is.EqualTo(tensor));
        Assert.That(error.Message, Does.Contain(found));
    }

    private static ArmorLayer Changed(ArmorLayer layer, float value)
    {
        var values = layer.Core.Values.ToArray();
        values[3] = value;
        return new ArmorLayer(layer.OutputWrapper, new SparseCore(layer.Rows, layer.Columns, values, layer.Core.Mask.ToArray()), layer.InputWrapper);
    }

    /// <summary>Changes one tensor's bytes and its checksum.</summary>
    private static void Overwrite(string path, string name, Action<byte[]> change)
    {
        var contents = new List<(TensorDescription Tensor, byte[] Bytes)>();
        using (var file = SafetensorsFile.Open(path))
        {
            contents.AddRange(file.TensorsInFileOrder.Select(tensor => (tensor, file.GetBytes(tensor.Name).ToArray())));
        }

        change(contents.Single(entry => entry.Tensor.Name == name).Bytes);
        var metadata = contents.ToDictionary(entry => "crc32c/" + entry.Tensor.Name, entry => Crc32C.Compute(entry.Bytes).ToString("x8"));
        using var writer = SafetensorsWriter.Create(path, [.. contents.Select(entry => entry.Tensor)], metadata);
        foreach (var (tensor, bytes) in contents)
        {
            writer.Write(tensor.Name, bytes);
        }

        writer.Commit();
    }

    private static void AssertSameFolders(string expected, string actual)
    {
        foreach (var path in Directory.GetFiles(expected))
        {
            Assert.That(File.ReadAllBytes(Path.Combine(actual, Path.GetFileName(path))), Is.EqualTo(File.ReadAllBytes(path)), path);
        }
    }
}
