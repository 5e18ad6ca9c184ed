using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Writes an ARMOR checkpoint beside a dense one: the pruned linears as they come, then everything else of the dense folder unchanged. The
/// folder grows under a hidden name beside the output and takes its name at <see cref="Commit"/>; without a commit nothing remains. Equal
/// input gives equal bytes.
/// </summary>
public sealed class ArmorCheckpointWriter : IDisposable
{
    /// <summary>The most bytes of tensors in one file where nothing else is asked for: 2 · 10⁹.</summary>
    public const long DefaultShardBytes = 2_000_000_000;

    private readonly CheckpointFolder _dense;
    private readonly string[] _linears;
    private readonly HashSet<string> _replaced;
    private readonly ArmorFormat _format;
    private readonly CheckpointFolderWriter _folder;
    private readonly ShardedStream _stream;
    private readonly string _path;
    private int _written;

    private ArmorCheckpointWriter(
        CheckpointFolder dense, string[] linears, ArmorFormat format, CheckpointFolderWriter folder, ShardedStream stream, string path)
    {
        _dense = dense;
        _linears = linears;
        _replaced = linears.Select(linear => linear + ".weight").ToHashSet(StringComparer.Ordinal);
        _format = format;
        _folder = folder;
        _stream = stream;
        _path = path;
    }

    /// <summary>Checks that the output can be written, and begins.</summary>
    /// <param name="dense">The source; must stay open until the commit.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="linears">The linears that will be pruned, without <c>.weight</c>, in the order in which they will be written.</param>
    /// <param name="elementType">The stored type of wrappers and kept values: F32, F16 or BF16.</param>
    /// <param name="pattern">The pattern of every core; 2:4 where left out.</param>
    /// <param name="shardBytes">The most bytes of tensors in one file; a larger tensor has a file of its own.</param>
    /// <param name="coreType">The stored type of kept values where it is another one: I8, with a scale for each 256 columns of a row.</param>
    /// <exception cref="CheckpointException">
    /// The output is not empty, the source is itself an ARMOR checkpoint, or a linear is missing or has no shape for the pattern.
    /// </exception>
    /// <exception cref="ArgumentException">A type is not among those, or a linear is given twice.</exception>
    public static ArmorCheckpointWriter Create(
        CheckpointFolder dense,
        string output,
        IReadOnlyList<string> linears,
        TensorElementType elementType,
        SparsityPattern pattern = default,
        long shardBytes = DefaultShardBytes,
        TensorElementType? coreType = null)
    {
        ArgumentNullException.ThrowIfNull(dense);
        ArgumentException.ThrowIfNullOrEmpty(output);
        ArgumentNullException.ThrowIfNull(linears);
        ArgumentOutOfRangeException.ThrowIfLessThan(shardBytes, 1);
        if (linears.GroupBy(linear => linear, StringComparer.Ordinal).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"The linear '{twice.Key}' is given twice.", nameof(linears));
        }

        if (ArmorCheckpoint.IsArmor(dense.Folder))
        {
            throw new CheckpointException(dense.Folder, "the source is already an ARMOR checkpoint", null, "a dense model", "\"armor\" in config.json");
        }

        var weights = linears.Select(linear => CheckWeight(dense, linear, pattern)).ToArray();
        var format = FormatOf(weights, elementType, coreType, pattern);
        var folder = CheckpointFolderWriter.Create(dense.Folder, output);
        try
        {
            var room = HeaderRoom(dense, weights, format);
            var shownPath = Path.Combine(output, CheckpointFolder.SingleFileName);
            var stream = new ShardedStream(folder, output, shardBytes, room, dense.Files[0].Metadata);
            return new ArmorCheckpointWriter(dense, [.. linears], format, folder, stream, shownPath);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Writes a whole checkpoint.</summary>
    /// <param name="dense">The source.</param>
    /// <param name="output">A new or empty folder.</param>
    /// <param name="linears">The linears that are pruned, without <c>.weight</c>.</param>
    /// <param name="elementType">The stored type of wrappers and kept values: F32, F16 or BF16.</param>
    /// <param name="supply">Gives the layer of a linear; called once for each, in order.</param>
    /// <param name="pattern">The pattern of every core; 2:4 where left out.</param>
    /// <param name="shardBytes">The most bytes of tensors in one file; a larger tensor has a file of its own.</param>
    /// <param name="coreType">The stored type of kept values where it is another one: I8, with a scale for each 256 columns of a row.</param>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">As of <see cref="Create"/>, <see cref="Write(string, ArmorLayer)"/> and <see cref="Commit"/>.</exception>
    public static void Write(
        CheckpointFolder dense,
        string output,
        IReadOnlyList<string> linears,
        TensorElementType elementType,
        Func<string, ArmorLayer> supply,
        SparsityPattern pattern = default,
        long shardBytes = DefaultShardBytes,
        TensorElementType? coreType = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(supply);
        using var writer = Create(dense, output, linears, elementType, pattern, shardBytes, coreType);
        foreach (var linear in linears)
        {
            cancellationToken.ThrowIfCancellationRequested();
            writer.Write(linear, supply(linear));
        }

        writer.Commit(cancellationToken);
    }

    /// <summary>The bytes of the folder that a checkpoint will be, every file of it.</summary>
    /// <param name="dense">The source.</param>
    /// <param name="layers">The pruned linears in the order in which they will be written; their sizes in bytes are not read.</param>
    /// <param name="elementType">The stored type of wrappers and kept values: F32, F16 or BF16.</param>
    /// <param name="pattern">The pattern of every core; 2:4 where left out.</param>
    /// <param name="shardBytes">The most bytes of tensors in one file.</param>
    /// <param name="coreType">The stored type of kept values where it is another one: I8, with a scale for each 256 columns of a row.</param>
    /// <exception cref="CheckpointException">A linear is missing or has no shape for the pattern.</exception>
    public static long OutputBytes(
        CheckpointFolder dense,
        IReadOnlyList<ArmorLayerDescription> layers,
        TensorElementType elementType,
        SparsityPattern pattern = default,
        long shardBytes = DefaultShardBytes,
        TensorElementType? coreType = null)
    {
        ArgumentNullException.ThrowIfNull(dense);
        ArgumentNullException.ThrowIfNull(layers);
        TensorDescription[] weights = [.. layers.Select(layer => CheckWeight(dense, layer.Name, pattern))];
        var format = FormatOf(weights, elementType, coreType, pattern);
        IEnumerable<TensorDescription> tensors =
            [.. layers.SelectMany(layer => ArmorLayout.Factors(layer, format)), .. dense.TensorsInFileOrder.Where(tensor => !weights.Contains(tensor))];
        return ShardedStream.FileBytes(tensors, shardBytes, HeaderRoom(dense, weights, format), dense.Files[0].Metadata)
            + CheckpointFolderWriter.JsonBytes(Configuration(dense, format)).Length
            + CheckpointFolderWriter.Companions(dense.Folder).Sum(path => new FileInfo(path).Length);
    }

    /// <summary>Writes the next linear, rounded to the stored type.</summary>
    /// <param name="linear">The linear, as a check of the order.</param>
    /// <param name="layer">Its factors; a plain sparse weight has no wrappers.</param>
    /// <exception cref="InvalidOperationException">Another linear is due.</exception>
    /// <exception cref="CheckpointException">The layer has not the dense weight's shape or the checkpoint's pattern, a value is not finite or exceeds the type, or the disk is full.</exception>
    public void Write(string linear, ArmorLayer layer)
    {
        ArgumentNullException.ThrowIfNull(linear);
        ArgumentNullException.ThrowIfNull(layer);
        if (_written == _linears.Length || _linears[_written] != linear)
        {
            throw new InvalidOperationException(
                _written == _linears.Length ? $"Every linear is written; '{linear}' is one too many." : $"The linear '{_linears[_written]}' is due, not '{linear}'.");
        }

        var weight = _dense.GetTensor(linear + ".weight");
        if (weight.Shape[0] != layer.Rows || weight.Shape[1] != layer.Columns)
        {
            throw new CheckpointException(_path, "the layer has not the shape of the dense weight", linear, weight.ShapeText, $"[{layer.Rows}, {layer.Columns}]");
        }

        if (layer.Core.Pattern != _format.Pattern)
        {
            throw new CheckpointException(_path, "the layer has not the pattern of the checkpoint", linear, $"{_format.Pattern}", $"{layer.Core.Pattern}");
        }

        WriteWrapper(linear + ArmorFormat.InputBlocks, layer.InputWrapper);
        WriteWrapper(linear + ArmorFormat.OutputBlocks, layer.OutputWrapper);
        WriteCore(linear, layer);
        _written++;
    }

    /// <summary>Copies the rest of the dense folder and gives the output its name.</summary>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="InvalidOperationException">A linear has not been written.</exception>
    /// <exception cref="CheckpointException">Reading or writing failed; the disk may be full.</exception>
    public void Commit(CancellationToken cancellationToken = default)
    {
        if (_written < _linears.Length)
        {
            throw new InvalidOperationException($"{_linears.Length - _written} linears are not written, the first '{_linears[_written]}'.");
        }

        foreach (var tensor in _dense.TensorsInFileOrder.Where(tensor => !_replaced.Contains(tensor.Name)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            _stream.Begin(tensor);
            _stream.AppendCopy(_dense, tensor);
        }

        _folder.WriteConfiguration(Configuration(_dense, _format));
        _folder.CopyCompanions();
        _stream.Commit();
        _folder.Commit();
    }

    /// <summary>Closes the folder; deletes what was written if it was not committed.</summary>
    public void Dispose()
    {
        _stream.Dispose();
        _folder.Dispose();
    }

    private static JsonObject Configuration(CheckpointFolder dense, ArmorFormat format)
    {
        var configuration = CheckpointFolderWriter.ReadConfiguration(dense.Folder);
        configuration[ArmorFormat.ConfigurationKey] = format.ToJson();
        return configuration;
    }

    // Wrappers are known only when they come: room for the largest, given back at the commit.
    private static int HeaderRoom(CheckpointFolder dense, TensorDescription[] weights, ArmorFormat format)
    {
        var copies = dense.TensorsInFileOrder.Where(tensor => !weights.Contains(tensor));
        TensorDescription[] largest = [.. weights.SelectMany(weight => ArmorLayout.LargestFactors(weight, format)), .. copies];
        var checksums = largest.Select(tensor => ArmorFormat.ChecksumEntry(tensor.Name, 0));
        return SafetensorsHeader.Format(largest, [.. dense.Files[0].Metadata, .. checksums]).Length + (24 * weights.Length);
    }

    private static TensorDescription CheckWeight(CheckpointFolder dense, string linear, SparsityPattern pattern)
    {
        var weight = dense.GetTensor(linear + ".weight");
        return weight.ElementType.ConvertsToFloat32() && weight.Shape.Count == 2 && weight.Shape[1] % pattern.Group == 0 && weight.Shape.All(size => size is > 0 and <= int.MaxValue)
            ? weight
            : throw new CheckpointException(
                dense.FileOf(weight.Name).Path,
                $"the weight cannot be {pattern}",
                weight.Name,
                $"floats [d_out, d_in] with d_in a multiple of {pattern.Group}",
                $"{weight.ElementType.SafetensorsName()} {weight.ShapeText}");
    }

    private static ArmorFormat FormatOf(TensorDescription[] weights, TensorElementType elementType, TensorElementType? coreType, SparsityPattern pattern)
    {
        if (!ArmorFormat.CanStore(elementType))
        {
            throw new ArgumentException($"Layers are stored as F32, F16 or BF16, not {elementType.SafetensorsName()}.", nameof(elementType));
        }

        if (coreType is { } type && type != elementType && type != TensorElementType.Int8)
        {
            throw new ArgumentException(
                $"Kept values are stored as the rest, here {elementType.SafetensorsName()}, or as I8, not {type.SafetensorsName()}.", nameof(coreType));
        }

        var source = weights.Length == 0 ? elementType : weights.Select(weight => weight.ElementType).MaxBy(Precision);
        return new ArmorFormat(elementType, source, pattern, coreType == TensorElementType.Int8);
    }

    /// <summary>Bits of the significand, so that the widest of mixed source types is named.</summary>
    private static int Precision(TensorElementType type) => type switch
    {
        TensorElementType.Float64 => 53,
        TensorElementType.Float32 => 24,
        TensorElementType.Float16 => 11,
        _ => 8,
    };

    private void WriteWrapper(string name, BlockDiagonalMatrix? wrapper)
    {
        if (wrapper is not null)
        {
            WriteValues(new TensorDescription(name, _format.ElementType, [wrapper.BlockCount, wrapper.BlockSize, wrapper.BlockSize]), wrapper.Values.Span);
        }
    }

    private void WriteCore(string linear, ArmorLayer layer)
    {
        var values = _format.Values(linear, layer.Rows, layer.Columns);
        if (_format.IsQuantised)
        {
            var core = StoredLayer.Quantised(layer, linear, _path).Core;
            _stream.Begin(values);
            _stream.Append(MemoryMarshal.AsBytes(core.QuantisedValues.Span));
            WriteValues(_format.Scales(linear, layer.Rows, layer.Columns), core.Scales.Span);
        }
        else
        {
            WriteValues(values, layer.Core.Values.Span);
        }

        _stream.Begin(ArmorFormat.Mask(linear, layer.Rows, layer.Columns));
        _stream.Append(layer.Core.Mask.Span);
    }

    private void WriteValues(TensorDescription tensor, ReadOnlySpan<float> values)
    {
        StoredLayer.RequireFinite(values, tensor, _path);
        _stream.Begin(tensor);
        _stream.AppendFloat32(values);
    }
}
