using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// The JSON header of a safetensors file: eight bytes of length, then an object from tensor names to type, shape and offsets. A file is
/// untrusted input; each rule that it breaks has its own error.
/// </summary>
internal sealed class SafetensorsHeader
{
    /// <summary>A longer header is refused, as in the reference implementation.</summary>
    public const long MaximumLength = 100_000_000;

    public const int PrefixLength = 8;

    private const string MetadataKey = "__metadata__";

    private SafetensorsHeader(IReadOnlyList<Entry> entries, IReadOnlyDictionary<string, string> metadata)
    {
        Entries = entries;
        Metadata = metadata;
    }

    /// <summary>The tensors in the order of their data; <see cref="Entry.Begin"/> counts from the end of the header.</summary>
    public IReadOnlyList<Entry> Entries { get; }

    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Checks the first eight bytes against the file's length and returns the header's length.</summary>
    public static int ParseLength(string file, ReadOnlySpan<byte> prefix, long fileLength)
    {
        if (fileLength < PrefixLength)
        {
            throw new CheckpointException(file, "the file ends inside the header's length", null, "at least 8 bytes", $"{fileLength} bytes");
        }

        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > MaximumLength)
        {
            throw new CheckpointException(file, "the header is too long", null, $"at most {MaximumLength} bytes", $"{length} bytes");
        }

        if ((long)length > fileLength - PrefixLength)
        {
            throw new CheckpointException(
                file, "the file ends inside the header", null, $"a header of {length} bytes at offset 8", $"a file of {fileLength} bytes");
        }

        return (int)length;
    }

    /// <summary>Parses and checks the header.</summary>
    /// <param name="file">The file's name, for errors.</param>
    /// <param name="json">The header without its length.</param>
    /// <param name="dataLength">The number of bytes that follow the header.</param>
    public static SafetensorsHeader Parse(string file, ReadOnlyMemory<byte> json, long dataLength)
    {
        if (json.Length == 0 || json.Span[0] != (byte)'{')
        {
            throw new CheckpointException(
                file, "the header does not begin as a JSON object", null, "'{' at offset 8", json.Length == 0 ? "nothing" : $"byte 0x{json.Span[0]:X2}");
        }

        return Json.ReadObject(file, "the header", json, root =>
        {
            var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
            var entries = new List<Entry>();
            var names = new HashSet<string>(StringComparer.Ordinal);
            foreach (var property in root.EnumerateObject())
            {
                var name = property.Name;
                if (!names.Add(name))
                {
                    throw new CheckpointException(file, "the name appears twice in the header", name, "unique names", "a second entry");
                }

                if (name == MetadataKey)
                {
                    ParseMetadata(file, property.Value, metadata);
                }
                else
                {
                    entries.Add(ParseEntry(file, name, property.Value));
                }
            }

            CheckLayout(file, entries, dataLength);
            return new SafetensorsHeader(entries, metadata);
        });
    }

    /// <summary>The header's bytes, its length first, padded with spaces to <paramref name="capacity"/> or to a multiple of eight.</summary>
    public static byte[] Format(
        IEnumerable<TensorDescription> tensors, IEnumerable<KeyValuePair<string, string>> metadata, long? capacity = null)
    {
        using var buffer = new MemoryStream();
        buffer.Write(stackalloc byte[PrefixLength]);
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            var sorted = metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal).ToArray();
            if (sorted.Length > 0)
            {
                writer.WriteStartObject(MetadataKey);
                foreach (var (key, value) in sorted)
                {
                    writer.WriteString(key, value);
                }

                writer.WriteEndObject();
            }

            long offset = 0;
            foreach (var tensor in tensors)
            {
                writer.WriteStartObject(tensor.Name);
                writer.WriteString("dtype", tensor.ElementType.SafetensorsName());
                writer.WriteStartArray("shape");
                foreach (var dimension in tensor.Shape)
                {
                    writer.WriteNumberValue(dimension);
                }

                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                offset = checked(offset + tensor.ByteCount);
                writer.WriteNumberValue(offset);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        var length = capacity ?? (buffer.Length + 7) / 8 * 8;
        if (buffer.Length > length || length - PrefixLength > MaximumLength)
        {
            throw new InvalidOperationException($"A header of {buffer.Length} bytes does not fit {Math.Min(length, MaximumLength)} bytes.");
        }

        while (buffer.Length < length)
        {
            buffer.WriteByte((byte)' ');
        }

        var bytes = buffer.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(bytes, bytes.Length - PrefixLength);
        return bytes;
    }

    private static void ParseMetadata(string file, JsonElement value, Dictionary<string, string> metadata)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException(file, "__metadata__ is not an object", null, "an object of strings", Json.Describe(value));
        }

        foreach (var property in value.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String)
            {
                throw new CheckpointException(
                    file, $"the value of '{property.Name}' in __metadata__ is not a string", null, "a string", Json.Describe(property.Value));
            }

            if (!metadata.TryAdd(property.Name, property.Value.GetString()!))
            {
                throw new CheckpointException(file, $"'{property.Name}' appears twice in __metadata__", null, "unique names", "a second entry");
            }
        }
    }

    private static Entry ParseEntry(string file, string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointException(file, "the header's entry is not an object", name, "an object", Json.Describe(value));
        }

        JsonElement? type = null, shape = null, offsets = null;
        foreach (var property in value.EnumerateObject())
        {
            switch (property.Name)
            {
                case "dtype":
                    Set(ref type, property);
                    break;
                case "shape":
                    Set(ref shape, property);
                    break;
                case "data_offsets":
                    Set(ref offsets, property);
                    break;
                default:
                    break;
            }
        }

        var elementType = ParseType(file, name, Required(type, "dtype"));
        var dimensions = ParseShape(file, name, Required(shape, "shape"), elementType);
        var (begin, end) = ParseOffsets(file, name, Required(offsets, "data_offsets"));
        return new Entry(new TensorDescription(name, elementType, dimensions), begin, end);

        void Set(ref JsonElement? slot, JsonProperty property)
        {
            if (slot is not null)
            {
                throw new CheckpointException(file, $"'{property.Name}' appears twice", name, "one value", "a second value");
            }

            slot = property.Value;
        }

        JsonElement Required(JsonElement? slot, string key)
            => slot ?? throw new CheckpointException(file, $"'{key}' is missing in the header", name, "dtype, shape and data_offsets", Json.Describe(value));
    }

    private static TensorElementType ParseType(string file, string name, JsonElement value)
    {
        if (value.ValueKind == JsonValueKind.String && TensorElementTypes.TryParseSafetensorsName(value.GetString()!, out var type))
        {
            return type;
        }

        throw new CheckpointException(file, "unknown dtype", name, $"one of {TensorElementTypes.KnownNames}", Json.Describe(value));
    }

    private static long[] ParseShape(string file, string name, JsonElement value, TensorElementType type)
    {
        if (value.ValueKind != JsonValueKind.Array)
        {
            throw new CheckpointException(file, "the shape is not an array", name, "an array of integers", Json.Describe(value));
        }

        var shape = new long[value.GetArrayLength()];
        var index = 0;
        foreach (var dimension in value.EnumerateArray())
        {
            if (dimension.ValueKind != JsonValueKind.Number || !dimension.TryGetInt64(out shape[index]) || shape[index] < 0)
            {
                throw new CheckpointException(
                    file, "a dimension of the shape is not a non-negative 64-bit integer", name, "integers from 0 to 2^63 - 1", Json.Describe(value));
            }

            index++;
        }

        if (!TensorDescription.TryCount(shape, type.ByteSize(), out _))
        {
            throw new CheckpointException(file, "the size of the shape overflows", name, "at most 2^63 - 1 bytes", Json.Describe(value));
        }

        return shape;
    }

    private static (long Begin, long End) ParseOffsets(string file, string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() != 2
            || value[0].ValueKind != JsonValueKind.Number || !value[0].TryGetInt64(out var begin) || begin < 0
            || value[1].ValueKind != JsonValueKind.Number || !value[1].TryGetInt64(out var end) || end < 0)
        {
            throw new CheckpointException(
                file, "data_offsets is not a pair of non-negative 64-bit integers", name, "[begin, end]", Json.Describe(value));
        }

        return (begin, end);
    }

    private static void CheckLayout(string file, List<Entry> entries, long dataLength)
    {
        foreach (var (tensor, begin, end) in entries)
        {
            if (begin > end)
            {
                throw new CheckpointException(
                    file, "the data ends before it begins", tensor.Name, $"an end at or after offset {begin}", $"offset {end}");
            }

            if (end > dataLength)
            {
                throw new CheckpointException(
                    file, $"the data [{begin}, {end}) reaches beyond the file", tensor.Name, $"an end at or before offset {dataLength}", $"offset {end}");
            }

            if (end - begin != tensor.ByteCount)
            {
                throw new CheckpointException(
                    file,
                    $"the size of the data at offset {begin} is not that of shape and type",
                    tensor.Name,
                    $"{tensor.ByteCount} bytes for {tensor.ElementType.SafetensorsName()} {tensor.ShapeText}",
                    $"{end - begin} bytes");
            }
        }

        // Stable order for empty tensors, which share their offset with a neighbour.
        entries.Sort((a, b) => (a.Begin, a.End).CompareTo((b.Begin, b.End)) is var order and not 0
            ? order
            : string.CompareOrdinal(a.Tensor.Name, b.Tensor.Name));
        long position = 0;
        foreach (var (tensor, begin, end) in entries)
        {
            if (begin != position)
            {
                throw new CheckpointException(
                    file,
                    begin < position ? "the data overlaps that of the tensor before it" : "there is a hole before the data",
                    tensor.Name,
                    $"a start at offset {position}",
                    $"offset {begin}");
            }

            position = end;
        }

        if (position != dataLength)
        {
            throw new CheckpointException(
                file, "bytes follow the last tensor", null, $"an end at offset {position} of the data", $"{dataLength} bytes of data");
        }
    }

    /// <summary>A tensor and its bytes, counted from the end of the header.</summary>
    internal readonly record struct Entry(TensorDescription Tensor, long Begin, long End);
}
