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
        if (_bytes > 0 && tensor.ByteCount > 0 && _bytes + tensor.ByteCount > _limit)
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

        var map = new JsonObject();
        long total = 0;
        for (var shard = 0; shard < _finished.Count; shard++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:00000}-of-{_finished.Count:00000}.safetensors");
            _folder.Rename(WorkName(shard), name);
            foreach (var (tensor, _) in _finished[shard].Written)
            {
                map.Add(tensor.Name, name);
                total += tensor.ByteCount;
            }
        }

        _folder.WriteJson(CheckpointFolder.IndexFileName, new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = total }, ["weight_map"] = map });
    }

    /// <summary>Closes the file at work and deletes it if it was not finished.</summary>
    public void Dispose() => _current.Dispose();

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
