using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>A hostile ARMOR folder for each rule.</summary>
public class HostileArmorTests
{
    private const string Values = TinyModel.First + ".armor.core_values";
    private const string Mask = TinyModel.First + ".armor.core_mask";
    private const string Input = TinyModel.First + ".armor.input_blocks";
    private const string Output = TinyModel.First + ".armor.output_blocks";

    [TestCase("\"version\": 1", "\"version\": 3", "version", "1 or 2", "3")]
    [TestCase("\"version\": 1", "\"version\": \"1\"", "version", "1 or 2", "\"1\"")]
    [TestCase("\"version\": 1", "\"version\": 2", "core_element_type", "\"I8\"", "nothing")]
    [TestCase("\"version\": 1", "\"version\": 1, \"core_element_type\": \"I8\"", "core_element_type", "nothing", "\"I8\"")]
    [TestCase("\"pattern\": \"2:4\"", "\"pattern\": \"4:4\"", "pattern", "\"N:M\" with 1 ≤ N < M ≤ 16", "\"4:4\"")]
    [TestCase("\"pattern\": \"2:4\"", "\"pattern\": 24", "pattern", "\"N:M\" with 1 ≤ N < M ≤ 16", "24")]
    [TestCase("\"crc32c\"", "\"md5\"", "checksum", "\"crc32c\"", "\"md5\"")]
    [TestCase("\"element_type\": \"F32\"", "\"element_type\": \"U8\"", "element_type", "F32, F16, BF16 or F64", "\"U8\"")]
    [TestCase("\"armor\": {", "\"armor\": 3, \"old\": {", "is not an object", "an object", "3")]
    public void AnUnknownFormatIsNamed(string from, string to, string problem, string expected, string found)
    {
        using var folder = Armor();
        var path = folder.File("armor/config.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace(from, to));
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That((error.FilePath, error.Expected, error.Found), Is.EqualTo((path, expected, found)));
        Assert.That(error.Problem, Does.Contain(problem));
    }

    private static IEnumerable<TestCaseData> BrokenParts()
    {
        yield return Part("MaskMissing", list => list.RemoveAll(t => t.Name == Mask), Mask, "the tensor is missing", "a tensor of this name");
        yield return Part("ValuesMissing", list => list.RemoveAll(t => t.Name == Values), null, "the core's values are missing", Values);
        yield return Part("Unknown", list => list.Add(new(TinyModel.First + ".armor.extra", TensorElementType.UInt8, [1])), TinyModel.First + ".armor.extra", "the ARMOR tensor is unknown", "core_values, core_mask, input_blocks or output_blocks");
        yield return Part("ScalesOfAnotherVersion", list => list.Add(new(TinyModel.First + ".armor.core_scales", TensorElementType.BFloat16, [8, 1])), TinyModel.First + ".armor.core_scales", "the ARMOR tensor is unknown", "core_values, core_mask, input_blocks or output_blocks");
        yield return Part("ValuesOfAnotherVersion", Change(Values, TensorElementType.Int8, 8, 6), Values, "type or shape does not agree with the core", "F32 [8, 6]");
        yield return Part("DenseToo", list => list.Add(new(TinyModel.First + ".weight", TensorElementType.Float32, [8, 12])), TinyModel.First + ".weight", "the linear is stored both dense and pruned", "no dense weight");
        yield return Part("ValuesFlat", Change(Values, TensorElementType.Float32, 48), Values, "the shape is not that of a core's values", null);
        yield return Part("ValuesOdd", Change(Values, TensorElementType.Float32, 16, 3), Values, "the shape is not that of a core's values", null);
        yield return Part("ValuesEmpty", Change(Values, TensorElementType.Float32, 8, 0), Values, "the shape is not that of a core's values", null);
        yield return Part("ValuesHuge", Change(Values, TensorElementType.Float32, 0, 4294967296), Values, "the shape is not that of a core's values", null);
        yield return Part("ValuesType", Change(Values, TensorElementType.Float16, 8, 6), Values, "type or shape does not agree with the core", "F32 [8, 6]");
        yield return Part("MaskShape", Change(Mask, TensorElementType.UInt8, 8, 3), Mask, "type or shape does not agree with the core", "U8 [8, 2]");
        yield return Part("MaskType", Change(Mask, TensorElementType.Int8, 8, 2), Mask, "type or shape does not agree with the core", "U8 [8, 2]");
        yield return Part("InputDivisor", Change(Input, TensorElementType.Float32, 2, 5, 5), Input, "the shape is not that of a wrapper", "[12 / b, b, b] with b a divisor of 12");
        yield return Part("InputNotSquare", Change(Input, TensorElementType.Float32, 2, 6, 4), Input, "type or shape does not agree with the core", "F32 [2, 6, 6]");
        yield return Part("InputCount", Change(Input, TensorElementType.Float32, 3, 6, 6), Input, "type or shape does not agree with the core", "F32 [2, 6, 6]");
        yield return Part("OutputFlat", Change(Output, TensorElementType.Float32, 8, 4), Output, "the shape is not that of a wrapper", "[8 / b, b, b] with b a divisor of 8");
    }

    [TestCaseSource(nameof(BrokenParts))]
    public void ABrokenPartIsNamed(Action<List<TensorDescription>> change, string? tensor, string problem, string? expected)
    {
        using var folder = Armor();
        Rewrite(folder, change, checksums: true, _ => { });
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That(error.Message, Does.StartWith(folder.File("armor")));
        Assert.That(error.Problem, Is.EqualTo(problem));
        if (tensor is not null)
        {
            Assert.That(error.Tensor, Is.EqualTo(tensor));
        }

        if (expected is not null)
        {
            Assert.That(error.Expected, Is.EqualTo(expected));
        }
    }

    [Test]
    public void AMissingChecksumIsNamed()
    {
        using var folder = Armor();
        Rewrite(folder, _ => { }, checksums: false, _ => { });
        Assert.That(() => ArmorCheckpoint.Open(folder.File("armor")), Throws.TypeOf<CheckpointException>().With.Message.Contains("the checksum is missing"));
    }

    [Test]
    public void ALostWrapperIsNoticedByItsChecksum()
    {
        using var folder = Armor();
        Rewrite(folder, list => list.RemoveAll(t => t.Name == Output), checksums: true, metadata => metadata["crc32c/" + Output] = "00000000");
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo((Output, "a checksum only")));
    }

    [Test]
    public void AChecksumThatIsNoNumberIsNamed()
    {
        using var folder = Armor();
        Rewrite(folder, _ => { }, checksums: true, metadata => metadata["crc32c/" + Values] = "xyz");
        var error = Assert.Throws<CheckpointException>(() => ArmorCheckpoint.Open(folder.File("armor")))!;
        Assert.That((error.Tensor, error.Expected, error.Found), Is.EqualTo((Values, "eight hexadecimal digits", "xyz")));
    }

    [Test]
    public void AMaskThatIsNot24IsNamedAtItsPlace()
    {
        using var folder = Armor();

        // Rewritten zeroed: the mask's checksum is right, its content is not.
        Rewrite(folder, _ => { }, checksums: true, _ => { });
        using var armor = ArmorCheckpoint.Open(folder.File("armor"));
        var error = Assert.Throws<CheckpointException>(() => armor.ReadLayer(TinyModel.First))!;
        Assert.That((error.Tensor, error.Expected, error.Found), Is.EqualTo((Mask, "2 bits", "0")));
        Assert.That(error.Problem, Does.Contain("not 2:4: Row 0, columns 0 to 3"));
    }

    [Test]
    public void EveryFlippedByteOfTheDataIsNoticed()
    {
        using var folder = Armor();
        var path = folder.File("armor/model.safetensors");
        var bytes = File.ReadAllBytes(path);
        var start = 8 + (int)BitConverter.ToInt64(bytes);
        for (var i = start; i < bytes.Length; i += 7)
        {
            bytes[i] ^= 0x10;
            File.WriteAllBytes(path, bytes);
            using (var armor = ArmorCheckpoint.Open(folder.File("armor")))
            {
                var error = Assert.Throws<CheckpointException>(() => armor.VerifyChecksums())!;
                Assert.That(error.Message, Does.Contain("differs from its checksum; expected CRC-32C "));
            }

            bytes[i] ^= 0x10;
        }
    }

    [TestCase(null)]
    [TestCase(TensorElementType.Int8)]
    public void DamagedFoldersNeverFailOtherwise(TensorElementType? coreType)
    {
        using var folder = Armor(coreType);
        var path = folder.File("armor/model.safetensors");
        var valid = File.ReadAllBytes(path);
        var header = (int)BitConverter.ToInt64(valid) + 8;
        var random = new Random(99);
        var refused = 0;
        for (var round = 0; round < 1000; round++)
        {
            var damaged = (byte[])valid.Clone();
            damaged[random.Next(header)] = (byte)random.Next(32, 127);
            damaged[random.Next(damaged.Length)] ^= (byte)random.Next(4);
            File.WriteAllBytes(path, damaged);
            try
            {
                using var armor = ArmorCheckpoint.Open(folder.File("armor"));
                foreach (var linear in armor.PrunedLinears)
                {
                    armor.ReadLayer(linear);
                }
            }
            catch (CheckpointException)
            {
                refused++;
            }
        }

        Assert.That(refused, Is.InRange(500, 999));
    }

    internal static TemporaryFolder Armor(TensorElementType? coreType = null)
    {
        var folder = new TemporaryFolder();
        TinyModel.WriteDense(folder.File("dense"));
        TinyModel.WriteArmor(folder.File("dense"), folder.File("armor"), coreType: coreType);
        return folder;
    }

    /// <summary>Replaces the weights by zeros of changed shapes, with right checksums.</summary>
    internal static void Rewrite(TemporaryFolder folder, Action<List<TensorDescription>> change, bool checksums, Action<Dictionary<string, string>> changeMetadata)
    {
        var path = folder.File("armor/model.safetensors");
        List<TensorDescription> tensors;
        using (var file = SafetensorsFile.Open(path))
        {
            tensors = [.. file.TensorsInFileOrder];
        }

        change(tensors);
        var metadata = checksums
            ? tensors.ToDictionary(t => "crc32c/" + t.Name, t => Crc32C.Compute(new byte[t.ByteCount]).ToString("x8"))
            : [];
        changeMetadata(metadata);
        using var writer = SafetensorsWriter.Create(path, tensors, metadata);
        foreach (var tensor in tensors)
        {
            writer.Write(tensor.Name, new byte[tensor.ByteCount]);
        }

        writer.Commit();
    }

    internal static Action<List<TensorDescription>> Change(string name, TensorElementType type, params long[] shape)
        => list => list[list.FindIndex(t => t.Name == name)] = new TensorDescription(name, type, shape);

    internal static TestCaseData Part(string name, Action<List<TensorDescription>> change, string? tensor, string problem, string? expected)
        => new TestCaseData(change, tensor, problem, expected).SetArgDisplayNames(name);
}
