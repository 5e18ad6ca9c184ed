using System.Collections.Frozen;
using System.Text.Json;
using Armor.Runtime.Models;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// A model's folder in the Hugging Face layout: <c>model.safetensors</c>, or <c>model.safetensors.index.json</c> with its shards, all
/// memory-mapped. A weight that is stored fused, such as Phi-3's <c>qkv_proj</c>, shows as the tensors that it is made of. Safe for reading from
/// several threads.
/// </summary>
public sealed class CheckpointFolder : IDisposable
{
    internal const string SingleFileName = "model.safetensors";
    internal const string IndexFileName = "model.safetensors.index.json";

    private readonly FrozenDictionary<string, SafetensorsFile> _fileByTensor;
    private readonly Lazy<ModelConfiguration> _configuration;

    private CheckpointFolder(string folder, IReadOnlyList<SafetensorsFile> files, Dictionary<string, SafetensorsFile> fileByTensor)
    {
        Folder = folder;
        FusedTensors.Split(folder, fileByTensor);
        _configuration = new Lazy<ModelConfiguration>(() => ModelConfiguration.Load(folder));
        Files = files;
        _fileByTensor = fileByTensor.ToFrozenDictionary(StringComparer.Ordinal);
        TensorsInFileOrder = [.. files.SelectMany(file => file.TensorsInFileOrder.Where(tensor => _fileByTensor.GetValueOrDefault(tensor.Name) == file))];
        Tensors = TensorsInFileOrder.ToFrozenDictionary(tensor => tensor.Name, StringComparer.Ordinal);
    }

    /// <summary>The folder's path as it was given.</summary>
    public string Folder { get; }

    /// <summary>What the folder's <c>config.json</c> says; read at the first use.</summary>
    /// <exception cref="CheckpointException">The file is missing or breaks a rule.</exception>
    public ModelConfiguration Configuration => _configuration.Value;

    /// <summary>The safetensors files, by name.</summary>
    public IReadOnlyList<SafetensorsFile> Files { get; }

    /// <summary>Every tensor by name. Of a sharded checkpoint, those that its index lists.</summary>
    public IReadOnlyDictionary<string, TensorDescription> Tensors { get; }

    /// <summary>Every tensor, file by file, in the order of the data.</summary>
    public IReadOnlyList<TensorDescription> TensorsInFileOrder { get; }

    /// <summary>Opens a folder and checks the header of every file; no tensor is read.</summary>
    /// <exception cref="CheckpointException">The folder, a shard or a tensor is missing, or a file breaks a rule of its format.</exception>
    public static CheckpointFolder Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
        {
            throw new CheckpointException(folder, "the model folder is missing", null, "a folder", File.Exists(folder) ? "a file" : "nothing");
        }

        var single = Path.Combine(folder, SingleFileName);
        if (File.Exists(single))
        {
            var file = SafetensorsFile.Open(single);
            try
            {
                return new CheckpointFolder(folder, [file], file.Tensors.Keys.ToDictionary(name => name, _ => file));
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }

        var index = Path.Combine(folder, IndexFileName);
        if (!File.Exists(index))
        {
            throw new CheckpointException(folder, "the folder has no safetensors weights", null, $"{SingleFileName} or {IndexFileName}", "neither");
        }

        return OpenShards(folder, index, ReadIndex(index));
    }

    /// <summary>Whether there is a tensor of that name.</summary>
    public bool Contains(string name) => _fileByTensor.ContainsKey(name);

    /// <summary>The description of a tensor.</summary>
    /// <exception cref="CheckpointException">There is no tensor of that name.</exception>
    public TensorDescription GetTensor(string name) => FileOf(name).GetTensor(name);

    /// <summary>The stored bytes of a tensor, in place; the span must not outlive this object.</summary>
    /// <exception cref="CheckpointException">There is no tensor of that name, or it has more than 2 GiB: read it in ranges.</exception>
    public ReadOnlySpan<byte> GetBytes(string name) => FileOf(name).GetBytes(name);

    /// <summary>A range of the stored bytes of a tensor, in place; the span must not outlive this object.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="offset">The first byte, counted from the tensor's start.</param>
    /// <param name="count">The number of bytes.</param>
    /// <exception cref="CheckpointException">There is no tensor of that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    public ReadOnlySpan<byte> GetBytes(string name, long offset, int count) => FileOf(name).GetBytes(name, offset, count);

    /// <summary>Reads a floating-point tensor, converted to float32, row-major.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not of type F32, F16, BF16 or F64, or it is too large for an array.</exception>
    public float[] ReadFloat32(string name) => FileOf(name).ReadFloat32(name);

    /// <summary>Reads a floating-point tensor as <see cref="ReadFloat32(string)"/> does, and refuses NaN and infinity.</summary>
    /// <exception cref="CheckpointException">As there, or a value is not finite; names the first one's place.</exception>
    public float[] ReadFiniteFloat32(string name)
    {
        var values = ReadFloat32(name);
        RequireFinite(name, 0, values);
        return values;
    }

    /// <summary>Reads a range of a floating-point tensor, converted to float32.</summary>
    /// <param name="name">A tensor of type F32, F16, BF16 or F64.</param>
    /// <param name="firstElement">The first element, counted row-major.</param>
    /// <param name="destination">Filled whole.</param>
    /// <exception cref="CheckpointException">There is no such tensor, or it is of another type.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    public void ReadFloat32(string name, long firstElement, Span<float> destination) => FileOf(name).ReadFloat32(name, firstElement, destination);

    /// <summary>Reads a range of a floating-point tensor as <see cref="ReadFloat32(string, long, Span{float})"/> does, and refuses NaN and infinity.</summary>
    /// <param name="name">A tensor of type F32, F16, BF16 or F64.</param>
    /// <param name="firstElement">The first element, counted row-major.</param>
    /// <param name="destination">Filled whole.</param>
    /// <exception cref="CheckpointException">As there, or a value is not finite; names the first one's place.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The range is not inside the tensor.</exception>
    public void ReadFiniteFloat32(string name, long firstElement, Span<float> destination)
    {
        ReadFloat32(name, firstElement, destination);
        RequireFinite(name, firstElement, destination);
    }

    /// <summary>Unmaps the files; spans taken from them become invalid.</summary>
    public void Dispose()
    {
        foreach (var file in Files)
        {
            file.Dispose();
        }
    }

    internal SafetensorsFile FileOf(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return _fileByTensor.TryGetValue(name, out var file)
            ? file
            : throw new CheckpointException(Folder, "the tensor is missing", name, "a tensor of this name", $"{_fileByTensor.Count} others");
    }

    internal void RequireFinite(string name, long firstElement, ReadOnlySpan<float> values)
    {
        var index = FloatConversion.IndexOfNonFinite(values);
        if (index >= 0)
        {
            throw new CheckpointException(
                FileOf(name).Path,
                "a value is not finite",
                name,
                "finite values",
                $"{values[index]} at element {firstElement + index} of {GetTensor(name).ShapeText}");
        }
    }

    private static CheckpointFolder OpenShards(string folder, string index, Dictionary<string, string> shardByTensor)
    {
        var files = new SortedDictionary<string, SafetensorsFile>(StringComparer.Ordinal);
        try
        {
            var fileByTensor = new Dictionary<string, SafetensorsFile>(StringComparer.Ordinal);
            foreach (var (tensor, shard) in shardByTensor)
            {
                if (!files.TryGetValue(shard, out var file))
                {
                    var path = Path.Combine(folder, shard);
                    if (!File.Exists(path))
                    {
                        throw new CheckpointException(index, "a shard is missing", tensor, $"the file {shard} beside the index", "none");
                    }

                    file = SafetensorsFile.Open(path);
                    files.Add(shard, file);
                }

                if (!file.Tensors.ContainsKey(tensor))
                {
                    throw new CheckpointException(
                        file.Path, "the tensor is missing in the shard that the index names", tensor, "the tensor", $"{file.Tensors.Count} others");
                }

                fileByTensor.Add(tensor, file);
            }

            return new CheckpointFolder(folder, [.. files.Values], fileByTensor);
        }
        catch
        {
            foreach (var file in files.Values)
            {
                file.Dispose();
            }

            throw;
        }
    }

    private static Dictionary<string, string> ReadIndex(string index)
    {
        return Json.ReadObject(index, "the index", Json.ReadFile(index), root =>
        {
            if (!root.TryGetProperty("weight_map", out var map) || map.ValueKind != JsonValueKind.Object)
            {
                throw new CheckpointException(index, "the index has no weight_map", null, "an object \"weight_map\"", Json.Describe(root));
            }

            var shardByTensor = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var property in map.EnumerateObject())
            {
                var shard = property.Value.ValueKind == JsonValueKind.String ? property.Value.GetString()! : null;
                if (shard is null || !IsPlainFileName(shard))
                {
                    throw new CheckpointException(
                        index, "the shard is not a plain file name", property.Name, "the name of a file beside the index", Json.Describe(property.Value));
                }

                if (!shardByTensor.TryAdd(property.Name, shard))
                {
                    throw new CheckpointException(index, "the tensor appears twice in the index", property.Name, "unique names", "a second entry");
                }
            }

            return shardByTensor.Count > 0
                ? shardByTensor
                : throw new CheckpointException(index, "the index lists no tensor", null, "at least one", Json.Describe(map));
        });
    }

    /// <summary>An index must not lead out of its folder: no separators of any system, no drive, no parent.</summary>
    private static bool IsPlainFileName(string name)
        => name.Length > 0 && name is not "." and not ".." && name.AsSpan().IndexOfAny("/\\:\0") < 0;
}
