using System.Buffers;
using System.Collections.Frozen;
using System.Globalization;
using System.Runtime.InteropServices;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// An ARMOR checkpoint: a model folder whose pruned linears are stored as wrappers, kept values and mask. Opening it checks names, types and
/// shapes; reading a layer checks its checksums, its mask and that its values are finite. Safe for reading from several threads.
/// </summary>
public sealed class ArmorCheckpoint : IDisposable
{
    private readonly ArmorFormat _format;
    private readonly FrozenDictionary<string, ArmorLayerDescription> _layers;
    private readonly FrozenDictionary<string, uint> _checksums;

    private ArmorCheckpoint(CheckpointFolder folder, ArmorFormat format)
    {
        Base = folder;
        _format = format;
        _checksums = ReadChecksums(folder);
        Layers = ArmorLayout.Read(folder, format);
        _layers = Layers.ToFrozenDictionary(layer => layer.Name, StringComparer.Ordinal);
        PrunedLinears = [.. Layers.Select(layer => layer.Name)];
    }

    /// <summary>The folder with all its tensors, the factors of the pruned linears among them.</summary>
    public CheckpointFolder Base { get; }

    /// <summary>The pruned linears in the order in which they were written, such as <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public IReadOnlyList<string> PrunedLinears { get; }

    /// <summary>Shapes and sizes of the pruned linears, in the same order.</summary>
    public IReadOnlyList<ArmorLayerDescription> Layers { get; }

    /// <summary>The stored type of wrappers and, unless the cores are quantised, of kept values.</summary>
    public TensorElementType ElementType => _format.ElementType;

    /// <summary>The stored type of kept values: <see cref="ElementType"/>, or I8 where the cores are quantised.</summary>
    public TensorElementType CoreType => _format.CoreType;

    /// <summary>The type in which the dense linears were stored.</summary>
    public TensorElementType SourceElementType => _format.SourceElementType;

    /// <summary>The N:M pattern of every core.</summary>
    public SparsityPattern Pattern => _format.Pattern;

    /// <summary>Whether a folder's <c>config.json</c> says that it is an ARMOR checkpoint; false for a folder without one.</summary>
    /// <exception cref="CheckpointException"><c>config.json</c> is not valid, or the ARMOR checkpoint is of an unknown version or pattern.</exception>
    public static bool IsArmor(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var configuration = Path.Combine(folder, "config.json");
        return File.Exists(configuration) && ArmorFormat.Read(configuration) is not null;
    }

    /// <summary>Opens a folder and checks everything but the tensors' data.</summary>
    /// <exception cref="CheckpointException">The folder is not an ARMOR checkpoint, a part is missing, or a rule of the format is broken.</exception>
    public static ArmorCheckpoint Open(string folder)
    {
        var baseFolder = CheckpointFolder.Open(folder);
        try
        {
            var configuration = Path.Combine(folder, "config.json");
            var format = ArmorFormat.Read(configuration)
                ?? throw new CheckpointException(configuration, "the folder is not an ARMOR checkpoint", null, "an object \"armor\"", "none");
            return new ArmorCheckpoint(baseFolder, format);
        }
        catch
        {
            baseFolder.Dispose();
            throw;
        }
    }

    /// <summary>Shape and size of a pruned linear.</summary>
    /// <exception cref="CheckpointException">The linear is not pruned.</exception>
    public ArmorLayerDescription GetLayer(string linear)
    {
        ArgumentNullException.ThrowIfNull(linear);
        return _layers.TryGetValue(linear, out var layer)
            ? layer
            : throw new CheckpointException(Base.Folder, "the linear is not pruned", linear, $"a tensor {linear}{ArmorFormat.CoreValues}", "none");
    }

    /// <summary>Whether a linear is pruned.</summary>
    internal bool IsPruned(string linear) => _layers.ContainsKey(linear);

    /// <summary>Reads a pruned linear and checks it whole.</summary>
    /// <param name="linear">Such as <c>model.layers.0.self_attn.q_proj</c>.</param>
    /// <exception cref="CheckpointException">
    /// The linear is not pruned, a checksum differs, the mask is not of the pattern, a value is not finite, or a quantised value or a scale is out of range.
    /// </exception>
    public ArmorLayer ReadLayer(string linear) => ReadLayer(linear, new LayerArrays());

    /// <summary>Reads as <see cref="ReadLayer(string)"/> does, into given arrays.</summary>
    internal ArmorLayer ReadLayer(string linear, LayerArrays arrays)
    {
        var layer = GetLayer(linear);
        var output = layer.OutputBlock is { } a
            ? new BlockDiagonalMatrix(layer.Rows / a, a, ReadValues(linear + ArmorFormat.OutputBlocks, arrays)) : null;
        var input = layer.InputBlock is { } b
            ? new BlockDiagonalMatrix(layer.Columns / b, b, ReadValues(linear + ArmorFormat.InputBlocks, arrays)) : null;
        return new ArmorLayer(output, ReadCore(layer, arrays), input);
    }

    /// <summary>Compares every tensor of the folder with its checksum, the factors as well as what was copied.</summary>
    /// <param name="cancellationToken">Checked between tensors.</param>
    /// <exception cref="CheckpointException">A checksum differs; names the first such tensor.</exception>
    public void VerifyChecksums(CancellationToken cancellationToken = default)
    {
        foreach (var tensor in Base.TensorsInFileOrder)
        {
            cancellationToken.ThrowIfCancellationRequested();
            VerifyChecksum(tensor.Name);
        }
    }

    /// <summary>Closes the folder.</summary>
    public void Dispose() => Base.Dispose();

    private static FrozenDictionary<string, uint> ReadChecksums(CheckpointFolder folder)
    {
        var checksums = new Dictionary<string, uint>(StringComparer.Ordinal);
        foreach (var file in folder.Files)
        {
            foreach (var entry in file.Metadata)
            {
                if (!ArmorFormat.TryParseChecksum(file.Path, entry, out var tensor, out var checksum))
                {
                    continue;
                }

                if (!file.Tensors.ContainsKey(tensor))
                {
                    throw new CheckpointException(file.Path, "the tensor is missing", tensor, "a tensor for each checksum", "a checksum only");
                }

                checksums.TryAdd(tensor, checksum);
            }
        }

        foreach (var tensor in folder.TensorsInFileOrder)
        {
            if (!checksums.ContainsKey(tensor.Name))
            {
                throw new CheckpointException(folder.FileOf(tensor.Name).Path, "the checksum is missing", tensor.Name, "a checksum for each tensor", "none");
            }
        }

        return checksums.ToFrozenDictionary(StringComparer.Ordinal);
    }

    private SparseCore ReadCore(ArmorLayerDescription layer, LayerArrays arrays)
    {
        var maskName = layer.Name + ArmorFormat.CoreMask;
        var mask = ReadStored<byte>(maskName, arrays);
        if (SparseCore.FindInvalidGroup(mask, layer.Rows, layer.Columns, Pattern) is { } group)
        {
            throw new CheckpointException(
                Base.FileOf(maskName).Path,
                $"the mask is not {Pattern}: {group.Place}",
                maskName,
                group.Column < layer.Columns ? $"{group.Expected} bits" : "no bits beyond the last column",
                group.Count.ToString(CultureInfo.InvariantCulture));
        }

        var valuesName = layer.Name + ArmorFormat.CoreValues;
        if (!_format.IsQuantised)
        {
            return new SparseCore(layer.Rows, layer.Columns, ReadValues(valuesName, arrays), mask, Pattern);
        }

        var values = ReadStored<sbyte>(valuesName, arrays);
        if (Int8Values.IndexOfInvalid(values) is >= 0 and var value)
        {
            throw OutOfRange(valuesName, $"from -{Int8Values.Largest} to {Int8Values.Largest}", FormattableString.Invariant($"{values[value]}"), value);
        }

        var scalesName = layer.Name + ArmorFormat.CoreScales;
        var scales = ReadValues(scalesName, arrays);
        if (Int8Values.IndexOfInvalid(scales) is >= 0 and var scale)
        {
            throw OutOfRange(scalesName, Int8Values.ValidScale, FormattableString.Invariant($"{scales[scale]}"), scale);
        }

        return SparseCore.FromQuantised(layer.Rows, layer.Columns, values, scales, mask, Pattern);

        CheckpointException OutOfRange(string name, string expected, string found, int index) => new(
            Base.FileOf(name).Path,
            "a value of a quantised core is out of range",
            name,
            expected,
            FormattableString.Invariant($"{found} at element {index} of {Base.GetTensor(name).ShapeText}"));
    }

    /// <summary>Reads values as float32.</summary>
    private float[] ReadValues(string name, LayerArrays arrays)
    {
        var tensor = Base.GetTensor(name);
        var size = tensor.ElementType.ByteSize();
        var values = arrays.Take<float>(LengthOf(tensor));
        ReadChecked(tensor, (first, bytes) => FloatConversion.ToFloat32(tensor.ElementType, bytes, values.AsSpan((int)(first / size), bytes.Length / size)));
        Base.RequireFinite(name, 0, values);
        return values;
    }

    /// <summary>Reads bytes as they are.</summary>
    private T[] ReadStored<T>(string name, LayerArrays arrays)
        where T : unmanaged
    {
        var tensor = Base.GetTensor(name);
        var values = arrays.Take<T>(LengthOf(tensor));
        ReadChecked(tensor, (first, bytes) => bytes.CopyTo(MemoryMarshal.AsBytes(values.AsSpan())[(int)first..]));
        return values;
    }

    private int LengthOf(TensorDescription tensor) => tensor.ElementCount <= Array.MaxLength
        ? (int)tensor.ElementCount
        : throw new CheckpointException(
            Base.FileOf(tensor.Name).Path, "the tensor is too large for one array", tensor.Name, $"at most {Array.MaxLength} elements", $"{tensor.ElementCount}");

    private void VerifyChecksum(string name) => ReadChecked(Base.GetTensor(name), (_, _) => { });

    /// <summary>
    /// Reads a tensor from its file in pieces and compares it with its checksum. Not from the mapping: what is read there stays in the process's memory.
    /// </summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="receive">Told where each piece begins, in bytes, and what it is.</param>
    private void ReadChecked(TensorDescription tensor, Action<long, ReadOnlySpan<byte>> receive)
    {
        const int Piece = 1 << 18;
        var file = Base.FileOf(tensor.Name);
        var buffer = ArrayPool<byte>.Shared.Rent(Piece);
        var state = Crc32C.Start;
        try
        {
            for (long start = 0; start < tensor.ByteCount; start += Piece)
            {
                var piece = buffer.AsSpan(0, (int)Math.Min(Piece, tensor.ByteCount - start));
                file.CopyBytes(tensor.Name, start, piece);
                state = Crc32C.Update(state, piece);
                receive(start, piece);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        var found = ArmorFormat.ChecksumEntry(tensor.Name, Crc32C.Finish(state)).Value;
        var expected = ArmorFormat.ChecksumEntry(tensor.Name, _checksums[tensor.Name]).Value;
        if (found != expected)
        {
            throw new CheckpointException(file.Path, "the data differs from its checksum", tensor.Name, $"CRC-32C {expected}", found);
        }
    }
}
