using Armor.Runtime.Checkpoints;
using static Armor.Runtime.Tests.Checkpoints.SafetensorsBytes;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>A hostile input for each rule of the format; each error names file, tensor, expected and found.</summary>
public class HostileSafetensorsTests
{
    private static IEnumerable<TestCaseData> Rules()
    {
        yield return Rule("EmptyFile", [], null, "ends inside the header's length", "at least 8 bytes", "0 bytes");
        yield return Rule("SevenBytes", new byte[7], null, "ends inside the header's length", "at least 8 bytes", "7 bytes");
        yield return Rule("HeaderOver100MB", File("{}", 0, 100_000_001), null, "header is too long", "at most 100000000 bytes", "100000001 bytes");
        yield return Rule("HeaderLengthNegative", File("{}", 0, -1), null, "header is too long", "at most 100000000 bytes", "18446744073709551615 bytes");
        yield return Rule("HeaderBeyondFile", File("{}", 0, 3), null, "ends inside the header", "a header of 3 bytes at offset 8", "a file of 10 bytes");
        yield return Rule("HeaderEmpty", File("", 4, 0), null, "does not begin as a JSON object", "'{' at offset 8", "nothing");
        yield return Rule("HeaderNotObject", File("[]", 0), null, "does not begin as a JSON object", "'{' at offset 8", "byte 0x5B");
        yield return Rule("HeaderNotJson", File("{\"a\":}", 0), null, "not valid JSON", null, null);
        yield return Rule("HeaderTruncatedJson", File("{\"a\":{", 0), null, "not valid JSON", null, null);
        yield return Rule("HeaderTrailingText", File("{} x", 0), null, "not valid JSON", null, null);
        yield return Rule("HeaderTooDeep", File("{\"a\":" + new string('[', 500) + new string(']', 500) + "}", 0), null, "not valid JSON", null, null);
        yield return Rule("NameLoneSurrogate", File("{\"\\uD800\":{}}", 0), null, "not valid Unicode", null, null);
        yield return Rule("NameInvalidUtf8", Replace(File("{\"~\":{}}", 0), (byte)'~', 0xFF), null, null, null, null);
        yield return Rule("DuplicateTensor", File($"{{{Entry("w", "U8", "[1]", "[0,1]")},{Entry("w", "U8", "[1]", "[1,2]")}}}", 2), "w", "appears twice", "unique names", "a second entry");
        yield return Rule("MetadataNotObject", File("{\"__metadata__\":3}", 0), null, "__metadata__ is not an object", "an object of strings", "3");
        yield return Rule("MetadataNotStrings", File("{\"__metadata__\":{\"k\":3}}", 0), null, "'k' in __metadata__ is not a string", "a string", "3");
        yield return Rule("MetadataDuplicate", File("{\"__metadata__\":{\"k\":\"a\",\"k\":\"b\"}}", 0), null, "'k' appears twice", "unique names", "a second entry");
        yield return Rule("EntryNotObject", File("{\"w\":[1]}", 0), "w", "entry is not an object", "an object", "[1]");
        yield return Rule("TypeMissing", File("{\"w\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1), "w", "'dtype' is missing", "dtype, shape and data_offsets", null);
        yield return Rule("ShapeMissing", File("{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1), "w", "'shape' is missing", "dtype, shape and data_offsets", null);
        yield return Rule("OffsetsMissing", File("{\"w\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1), "w", "'data_offsets' is missing", "dtype, shape and data_offsets", null);
        yield return Rule("TypeTwice", File("{\"w\":{\"dtype\":\"U8\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1), "w", "'dtype' appears twice", "one value", "a second value");
        yield return Rule("TypeUnknown", File($"{{{Entry("w", "F33", "[1]", "[0,4]")}}}", 4), "w", "unknown dtype", "one of F32, F16, BF16", "\"F33\"");
        yield return Rule("TypeNumber", File("{\"w\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,1]}}", 1), "w", "unknown dtype", "one of F32", "3");
        yield return Rule("ShapeNotArray", File($"{{{Entry("w", "U8", "1", "[0,1]")}}}", 1), "w", "shape is not an array", "an array of integers", "1");
        yield return Rule("ShapeNegative", File($"{{{Entry("w", "U8", "[-1,-1]", "[0,1]")}}}", 1), "w", "non-negative", "integers from 0", "[-1,-1]");
        yield return Rule("ShapeFraction", File($"{{{Entry("w", "U8", "[1.5]", "[0,1]")}}}", 1), "w", "non-negative", "integers from 0", "[1.5]");
        yield return Rule("ShapeTooLarge", File($"{{{Entry("w", "U8", "[9223372036854775808]", "[0,1]")}}}", 1), "w", "non-negative", "integers from 0", "[9223372036854775808]");
        yield return Rule("ShapeOverflows", File($"{{{Entry("w", "U8", "[4294967296,4294967296]", "[0,0]")}}}", 0), "w", "size of the shape overflows", "at most 2^63 - 1 bytes", "[4294967296,4294967296]");
        yield return Rule("BytesOverflow", File($"{{{Entry("w", "F64", "[1152921504606846976]", "[0,0]")}}}", 0), "w", "size of the shape overflows", "at most 2^63 - 1 bytes", "[1152921504606846976]");
        yield return Rule("OffsetsNotPair", File($"{{{Entry("w", "U8", "[1]", "[0]")}}}", 1), "w", "not a pair", "[begin, end]", "[0]");
        yield return Rule("OffsetsNegative", File($"{{{Entry("w", "U8", "[1]", "[-1,0]")}}}", 1), "w", "not a pair", "[begin, end]", "[-1,0]");
        yield return Rule("OffsetsBackwards", File($"{{{Entry("w", "U8", "[1]", "[1,0]")}}}", 1), "w", "ends before it begins", "an end at or after offset 1", "offset 0");
        yield return Rule("OffsetsOutside", File($"{{{Entry("w", "U8", "[4]", "[0,4]")}}}", 3), "w", "reaches beyond the file", "an end at or before offset 3", "offset 4");
        yield return Rule("SizeWrong", File($"{{{Entry("w", "F32", "[2,2]", "[0,12]")}}}", 12), "w", "not that of shape and type", "16 bytes for F32 [2, 2]", "12 bytes");
        yield return Rule("Overlap", File($"{{{Entry("v", "U8", "[4]", "[0,4]")},{Entry("w", "U8", "[4]", "[2,6]")}}}", 6), "w", "overlaps", "a start at offset 4", "offset 2");
        yield return Rule("SameBytesTwice", File($"{{{Entry("v", "U8", "[4]", "[0,4]")},{Entry("w", "U8", "[4]", "[0,4]")}}}", 4), "w", "overlaps", "a start at offset 4", "offset 0");
        yield return Rule("HoleInside", File($"{{{Entry("v", "U8", "[1]", "[0,1]")},{Entry("w", "U8", "[1]", "[2,3]")}}}", 3), "w", "a hole before", "a start at offset 1", "offset 2");
        yield return Rule("HoleAtStart", File($"{{{Entry("w", "U8", "[1]", "[1,2]")}}}", 2), "w", "a hole before", "a start at offset 0", "offset 1");
        yield return Rule("BytesAtEnd", File($"{{{Entry("w", "U8", "[1]", "[0,1]")}}}", 3), null, "bytes follow the last tensor", "an end at offset 1", "3 bytes of data");
        yield return Rule("BytesWithoutTensors", File("{}", 1), null, "bytes follow the last tensor", "an end at offset 0", "1 bytes of data");
    }

    [TestCaseSource(nameof(Rules))]
    public void EachBrokenRuleHasItsOwnError(byte[] content, string? tensor, string? problem, string? expected, string? found)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("hostile.safetensors");
        System.IO.File.WriteAllBytes(path, content);

        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(path))!;

        Assert.That(error.FilePath, Is.EqualTo(path));
        Assert.That(error.Message, Does.StartWith(path));
        Assert.That(error.Tensor, Is.EqualTo(tensor));
        AssertPart(error.Problem, problem, error.Message);
        AssertPart(error.Expected, expected, error.Message);
        AssertPart(error.Found, found, error.Message);
    }

    [Test]
    public void AMissingFileIsNamed()
    {
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open("/nowhere/model.safetensors"))!;
        Assert.That(error.Message, Does.Contain("/nowhere/model.safetensors"));
    }

    [Test]
    public void AMissingTensorIsNamed()
    {
        using var folder = new TemporaryFolder();
        System.IO.File.WriteAllBytes(folder.File("a"), File($"{{{Entry("w", "U8", "[1]", "[0,1]")}}}", 1));
        using var file = SafetensorsFile.Open(folder.File("a"));
        var error = Assert.Throws<CheckpointException>(() => file.GetBytes("v"))!;
        Assert.That((error.FilePath, error.Tensor, error.Found), Is.EqualTo((folder.File("a"), "v", "1 others")));
    }

    [Test]
    public void AnIntegerTensorDoesNotReadAsFloat()
    {
        using var folder = new TemporaryFolder();
        System.IO.File.WriteAllBytes(folder.File("a"), File($"{{{Entry("w", "U8", "[1]", "[0,1]")}}}", 1));
        using var file = SafetensorsFile.Open(folder.File("a"));
        var error = Assert.Throws<CheckpointException>(() => file.ReadFloat32("w"))!;
        Assert.That((error.Tensor, error.Found), Is.EqualTo(("w", "U8")));
    }

    [Test]
    public void AHostileNameReachesNoTerminal()
    {
        using var folder = new TemporaryFolder();
        System.IO.File.WriteAllBytes(folder.File("a"), File($"{{{Entry("\\u001b[2J" + new string('x', 100_000), "U8", "[1]", "[0,2]")}}}", 2));
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(folder.File("a")))!;
        Assert.That(error.Message.Any(char.IsControl), Is.False);
        Assert.That(error.Message, Does.Contain("\\u001b[2Jxxx").And.Length.LessThan(1000));
        Assert.That(error.Tensor, Has.Length.EqualTo(100_004));
    }

    [Test, Platform("Linux", Reason = "Needs sparse files.")]
    public void TensorsBeyondTwoGigabytesReadInRanges()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("a");
        var head = File($"{{{Entry("w", "BF16", "[3000000001]", "[0,6000000002]")}}}", 0);
        using (var stream = System.IO.File.Create(path))
        {
            stream.Write(head);
            stream.SetLength(head.Length + 6_000_000_002);
            stream.Position = stream.Length - 2;
            stream.Write([0x80, 0x3F]);
        }

        using var file = SafetensorsFile.Open(path);
        Assert.That(file.GetBytes("w", 6_000_000_000, 2).ToArray(), Is.EqualTo(new byte[] { 0x80, 0x3F }));
        var last = new float[2];
        file.ReadFloat32("w", 2_999_999_999, last);
        Assert.That(last, Is.EqualTo([0f, 1f]));
        Assert.That(() => file.GetBytes("w"), Throws.TypeOf<CheckpointException>().With.Message.Contains("read it in ranges"));
        Assert.That(() => file.ReadFloat32("w"), Throws.TypeOf<CheckpointException>().With.Message.Contains("read it in ranges"));
        Assert.That(() => file.GetBytes("w", 6_000_000_001, 2), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void DamagedFilesNeverFailOtherwise()
    {
        using var folder = new TemporaryFolder();
        var valid = File($"{{\"__metadata__\":{{\"format\":\"pt\"}},{Entry("v", "F32", "[2,2]", "[0,16]")},{Entry("w", "BF16", "[3]", "[16,22]")}}}", 22);
        var path = folder.File("fuzz.safetensors");
        var random = new Random(20260101);
        var refused = 0;
        for (var round = 0; round < 3000; round++)
        {
            var damaged = (byte[])valid.Clone();
            for (var flips = random.Next(1, 4); flips > 0; flips--)
            {
                damaged[random.Next(damaged.Length)] = random.Next(3) == 0 ? (byte)random.Next(256) : (byte)"0123456789{}[]\",:"[random.Next(17)];
            }

            if (random.Next(4) == 0)
            {
                damaged = damaged[..random.Next(damaged.Length)];
            }

            System.IO.File.WriteAllBytes(path, damaged);
            try
            {
                using var file = SafetensorsFile.Open(path);
                foreach (var tensor in file.TensorsInFileOrder)
                {
                    Assert.That(file.GetBytes(tensor.Name).Length, Is.EqualTo(tensor.ByteCount));
                }
            }
            catch (CheckpointException)
            {
                refused++;
            }
        }

        Assert.That(refused, Is.InRange(1000, 2999));
    }

    private static void AssertPart(string? actual, string? expected, string message)
    {
        if (expected is not null)
        {
            Assert.That(actual, Does.Contain(expected));
            Assert.That(message, Does.Contain(expected));
        }
    }

    private static byte[] Replace(byte[] bytes, byte from, byte to) => [.. bytes.Select(b => b == from ? to : b)];

    private static TestCaseData Rule(string name, byte[] content, string? tensor, string? problem, string? expected, string? found)
        => new TestCaseData(content, tensor, problem, expected, found).SetArgDisplayNames(name);
}
