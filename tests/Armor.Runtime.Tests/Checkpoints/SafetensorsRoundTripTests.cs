using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using CsCheck;

namespace Armor.Runtime.Tests.Checkpoints;

public class SafetensorsRoundTripTests
{
    private static readonly Gen<(TensorDescription Tensor, byte[] Bytes)[]> GenTensors =
        Gen.Select(
            Gen.String[Gen.Char['\u0020', '\u00FF'], 0, 12],
            Gen.Enum<TensorElementType>(),
            Gen.Long[0, 5].Array[0, 3])
        .Array[0, 6]
        .Select(parts => parts.Select((part, i) => new TensorDescription($"{part.Item1}#{i}", part.Item2, part.Item3)).ToArray())
        .SelectMany(tensors => Gen.Byte.Array[(int)tensors.Sum(tensor => tensor.ByteCount)].Select(data =>
        {
            using var rest = new MemoryStream(data);
            using var reader = new BinaryReader(rest);
            return tensors.Select(tensor => (tensor, reader.ReadBytes((int)tensor.ByteCount))).ToArray();
        }));

    [Test]
    public void WhatIsWrittenIsRead()
    {
        using var folder = new TemporaryFolder();
        GenTensors.Sample(
            tensors =>
            {
                var path = folder.File("model.safetensors");
                var metadata = new Dictionary<string, string> { ["format"] = "pt", ["quote \""] = "é" };
                using (var writer = SafetensorsWriter.Create(path, [.. tensors.Select(t => t.Tensor)], metadata))
                {
                    foreach (var (tensor, bytes) in tensors)
                    {
                        writer.Write(tensor.Name, bytes.AsSpan(0, bytes.Length / 3));
                        writer.Write(tensor.Name, bytes.AsSpan(bytes.Length / 3));
                    }

                    writer.Commit();
                }

                using var file = SafetensorsFile.Open(path);
                Assert.That(file.Metadata, Is.EquivalentTo(metadata));
                Assert.That(file.Tensors.Values, Is.EquivalentTo(tensors.Select(t => t.Tensor)));
                foreach (var (tensor, bytes) in tensors)
                {
                    Assert.That(file.GetBytes(tensor.Name).ToArray(), Is.EqualTo(bytes));
                }
            },
            iter: 100,
            threads: 1);
    }

    [Test]
    public void EqualInputGivesEqualBytesWithTheDataAlignedToEight()
    {
        using var folder = new TemporaryFolder();
        foreach (var name in new[] { "a", "b" })
        {
            using var writer = SafetensorsWriter.Create(
                folder.File(name), [new("w", TensorElementType.Float32, [3])], new Dictionary<string, string> { ["z"] = "1", ["a"] = "2" });
            writer.WriteFloat32("w", [1, 2, 3]);
            writer.Commit();
        }

        var bytes = File.ReadAllBytes(folder.File("a"));
        Assert.That(bytes, Is.EqualTo(File.ReadAllBytes(folder.File("b"))));
        Assert.That(BitConverter.ToInt64(bytes) % 8, Is.Zero);
        Assert.That(bytes[^12..], Is.EqualTo(MemoryMarshal.AsBytes<float>([1, 2, 3]).ToArray()));
    }

    [TestCase(TensorElementType.Float32)]
    [TestCase(TensorElementType.Float16)]
    [TestCase(TensorElementType.BFloat16)]
    [TestCase(TensorElementType.Float64)]
    public void FloatsComeBackRoundedToTheirType(TensorElementType type)
    {
        using var folder = new TemporaryFolder();
        var values = Enumerable.Range(0, 40_001).Select(i => (i - 20_000) * 0.137f).ToArray();
        using (var writer = SafetensorsWriter.Create(folder.File("a"), [new("w", type, [values.Length])]))
        {
            writer.WriteFloat32("w", values.AsSpan(0, 7));
            writer.WriteFloat32("w", values.AsSpan(7));
            writer.Commit();
        }

        using var file = SafetensorsFile.Open(folder.File("a"));
        Assert.That(file.ReadFloat32("w"), Is.EqualTo(FloatConversion.Rounded(type, values)));
        var middle = new float[100];
        file.ReadFloat32("w", 20_000, middle);
        Assert.That(middle, Is.EqualTo(file.ReadFloat32("w")[20_000..20_100]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.ReadFloat32("w", 39_999, middle));
    }

    [TestCase(TensorElementType.Float16, 65520f, "65504")]
    [TestCase(TensorElementType.BFloat16, float.MaxValue, "3.39e38")]
    public void AValueBeyondTheTypeIsRefused(TensorElementType type, float value, string expected)
    {
        using var folder = new TemporaryFolder();
        using var writer = SafetensorsWriter.Create(folder.File("a"), [new("w", type, [1])]);
        var error = Assert.Throws<CheckpointException>(() => writer.WriteFloat32("w", [value]))!;
        Assert.That(error.Tensor, Is.EqualTo("w"));
        Assert.That(error.Expected, Does.Contain(expected));
    }

    [Test]
    public void WithoutACommitNothingRemains()
    {
        using var folder = new TemporaryFolder();
        using (var writer = SafetensorsWriter.Create(folder.File("a"), [new("w", TensorElementType.UInt8, [2])]))
        {
            writer.Write("w", [1]);
            Assert.Throws<InvalidOperationException>(writer.Commit);
        }

        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void TheDeclaredOrderAndSizeAreKept()
    {
        using var folder = new TemporaryFolder();
        using var writer = SafetensorsWriter.Create(
            folder.File("a"), [new("v", TensorElementType.UInt8, [2]), new("w", TensorElementType.UInt8, [1])]);
        Assert.That(() => writer.Write("w", [1]), Throws.InvalidOperationException.With.Message.Contains("'v'"));
        Assert.That(() => writer.Write("v", [1, 2, 3]), Throws.InvalidOperationException);
        writer.Write("v", [1, 2]);
        Assert.That(writer.Commit, Throws.InvalidOperationException.With.Message.Contains("'w'"));
    }

    [Test]
    public void AFullDiskLeavesNothingAndNamesTheFile([Values(0, 5, 300)] int room)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("model.safetensors");
        var error = Assert.Throws<CheckpointException>(() =>
        {
            using var writer = SafetensorsWriter.Create(
                path, [new("w", TensorElementType.UInt8, [1000])], null, name => new FullDisk(SafetensorsStream.OpenFile(name), room));
            writer.Write("w", new byte[1000]);
            writer.Commit();
        })!;
        Assert.That(error.FilePath, Is.EqualTo(path));
        Assert.That(error.Message, Does.Contain("No space left"));
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    private sealed class FullDisk(Stream inner, int room) : Stream
    {
        private int _room = room;

        public override bool CanRead => false;

        public override bool CanSeek => true;

        public override bool CanWrite => true;

        public override long Length => inner.Length;

        public override long Position { get => inner.Position; set => inner.Position = value; }

        public override void Flush() => inner.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => inner.Seek(offset, origin);

        public override void SetLength(long value) => inner.SetLength(value);

        public override void Write(byte[] buffer, int offset, int count)
        {
            _room -= count;
            if (_room < 0)
            {
                throw new IOException("No space left on device");
            }

            inner.Write(buffer, offset, count);
        }

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
