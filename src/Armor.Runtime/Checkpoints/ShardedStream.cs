using System.Globalization;
using System.Text.Json.Nodes;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// The tensors of a folder in the making, file after file: a file is finished when the next tensor would take it over the limit. One file becomes
/// <c>model.safetensors</c>; several get their numbers at <see cref="Commit"/>, when their count is known, and an index.
/// </summary>
internal sealed class ShardedStream : IDisposable
{
    private readonly CheckpointFolderWriter _folder;
    private readonly long _limit;
    private readonly int _headerLength;
    private readonly IReadOnlyDictionary<string, string> _metadata;
    private readonly string _output;
    private readonly List<SafetensorsStream> _finished = [];
    private SafetensorsStream _current;
    private long _bytes;

    /// <param name="folder">The folder in the making.</param>
    /// <param name="output">Its final name, for errors.</param>
    /// <param name="limit">The most bytes of tensors in a file; a larger tensor has a file of its own.</param>
    /// <param name="headerLength">Room for the header of each file.</param>
    /// <param name="metadata">For every file, beside the checksums.</param>
    public ShardedStream(CheckpointFolderWriter folder, string output, long limit, int headerLength, IReadOnlyDictionary<string, string> metadata)
    {
        _folder = folder;
        _output = output;
        _limit = limit;
        _headerLength = headerLength;
        _metadata = metadata;
        _current = Open();
    }

    /// <summary>Begins the next tensor.</summary>
    public void Begin(TensorDescription tensor)
    {
        if (BeginsShard(_bytes, tensor, _limit))
        {
            Finish();
            _current = Open();
        }

        _bytes += tensor.ByteCount;
        _current.Begin(tensor);
    }

    /// <summary>Appends stored bytes to the current tensor.</summary>
    public void Append(ReadOnlySpan<byte> bytes) => _current.Append(bytes);

    /// <summary>Appends a tensor of a folder unchanged.</summary>
    public void AppendCopy(CheckpointFolder source, TensorDescription tensor) => _current.AppendCopy(source, tensor);

    /// <summary>Appends values to the current tensor, rounded to its type.</summary>
    public void AppendFloat32(ReadOnlySpan<float> values) => _current.AppendFloat32(values);

    /// <summary>Finishes the last file and gives all their names.</summary>
    public void Commit()
    {
        Finish();
        if (_finished.Count == 1)
        {
            _folder.Rename(WorkName(0), CheckpointFolder.SingleFileName);
            return;
        }

        for (var shard = 0; shard < _finished.Count; shard++)
        {
            _folder.Rename(WorkName(shard), ShardName(shard, _finished.Count));
        }

        TensorDescription[][] shards = [.. _finished.Select(stream => stream.Written.Select(written => written.Tensor).ToArray())];
        _folder.WriteJson(CheckpointFolder.IndexFileName, Index(shards));
    }

    /// <summary>The bytes of the files that some tensors become, the index among them.</summary>
    /// <param name="tensors">In the order in which they are written.</param>
    /// <param name="limit">As of the constructor.</param>
    /// <param name="headerLength">As of the constructor.</param>
    /// <param name="metadata">As of the constructor.</param>
    public static long FileBytes(IEnumerable<TensorDescription> tensors, long limit, int headerLength, IReadOnlyDictionary<string, string> metadata)
    {
        List<List<TensorDescription>> shards = [[]];
        long bytes = 0;
        foreach (var tensor in tensors)
        {
            if (BeginsShard(bytes, tensor, limit))
            {
                shards.Add([]);
                bytes = 0;
            }

            bytes += tensor.ByteCount;
            shards[^1].Add(tensor);
        }

        var files = shards.Sum(shard => SafetensorsStream.FileLength(
            headerLength,
            SafetensorsHeader.Format(shard, [.. metadata, .. shard.Select(tensor => ArmorFormat.ChecksumEntry(tensor.Name, 0))]).Length,
            shard.Sum(tensor => tensor.ByteCount)));
        return shards.Count == 1 ? files : files + CheckpointFolderWriter.JsonBytes(Index(shards)).Length;
    }

    /// <summary>Closes the file at work and deletes it if it was not finished.</summary>
    public void Dispose() => _current.Dispose();

    private static bool BeginsShard(long bytes, TensorDescription next, long limit) => bytes > 0 && next.ByteCount > 0 && bytes + next.ByteCount > limit;

    private static string ShardName(int shard, int count) =>
        string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:00000}-of-{count:00000}.safetensors");

    private static JsonObject Index(IReadOnlyList<IReadOnlyList<TensorDescription>> shards)
    {
        var map = new JsonObject();
        foreach (var (shard, index) in shards.Select((shard, index) => (shard, index)))
        {
            foreach (var tensor in shard)
            {
                map.Add(tensor.Name, ShardName(index, shards.Count));
            }
        }

        return new JsonObject
        {
            ["metadata"] = new JsonObject { ["total_size"] = shards.Sum(shard => shard.Sum(tensor => tensor.ByteCount)) },
            ["weight_map"] = map,
        };
    }

    private static string WorkName(int shard) => string.Create(CultureInfo.InvariantCulture, $"shard-{shard:00000}");

    private SafetensorsStream Open()
    {
        _bytes = 0;
        var path = Path.Combine(_folder.TemporaryFolder, WorkName(_finished.Count));
        return new SafetensorsStream(path, _headerLength, SafetensorsStream.OpenFile, Path.Combine(_output, CheckpointFolder.SingleFileName));
    }

    private void Finish()
    {
        _current.Commit([.. _metadata, .. _current.Written.Select(written => ArmorFormat.ChecksumEntry(written.Tensor.Name, written.Checksum))]);
        _finished.Add(_current);
    }
}
