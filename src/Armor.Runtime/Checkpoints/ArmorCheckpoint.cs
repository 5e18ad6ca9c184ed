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
    private static readonly ParallelOptions OneThread = new() { MaxDegreeOfParallelism = 1 };

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
    public ArmorLayer ReadLayer(string linear) => ReadLayer(linear, new LayerArrays(), OneThread);

    /// <summary>Reads as <see cref="ReadLayer(string)"/> does, into given arrays and on several threads.</summary>
    internal ArmorLayer ReadLayer(string linear, LayerArrays arrays, ParallelOptions threads)
    {
        var layer = GetLayer(linear);
        var output = layer.OutputBlock is { } a
            ? new BlockDiagonalMatrix(layer.Rows / a, a, ReadValues(linear + ArmorFormat.OutputBlocks, arrays, threads)) : null;
        var input = layer.InputBlock is { } b
            ? new BlockDiagonalMatrix(layer.Columns / b, b, ReadValues(linear + ArmorFormat.InputBlocks, arrays, threads)) : null;
        return new ArmorLayer(output, ReadCore(layer, arrays, threads), input);
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

    private SparseCore ReadCore(ArmorLayerDescription layer, LayerArrays arrays, ParallelOptions threads)
    {
        var maskName = layer.Name + ArmorFormat.CoreMask;
        var mask = ReadStored<byte>(maskName, arrays, threads);
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
            return new SparseCore(layer.Rows, layer.Columns, ReadValues(valuesName, arrays, threads), mask, Pattern);
        }

        var values = ReadStored<sbyte>(valuesName, arrays, threads);
        if (Int8Values.IndexOfInvalid(values) is >= 0 and var value)
        {
            throw OutOfRange(valuesName, $"from -{Int8Values.Largest} to {Int8Values.Largest}", FormattableString.Invariant($"{values[value]}"), value);
        }

        var scalesName = layer.Name + ArmorFormat.CoreScales;
        var scales = ReadValues(scalesName, arrays, threads);
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
    private float[] ReadValues(string name, LayerArrays arrays, ParallelOptions threads)
    {
        var tensor = Base.GetTensor(name);
        var size = tensor.ElementType.ByteSize();
        var values = arrays.Take<float>(LengthOf(tensor));
        var isFinite = true;
        ReadChecked(tensor, threads, (first, bytes) =>
        {
            var piece = values.AsSpan((int)(first / size), bytes.Length / size);
            FloatConversion.ToFloat32(tensor.ElementType, bytes, piece);
            if (FloatConversion.IndexOfNonFinite(piece) >= 0)
            {
                Volatile.Write(ref isFinite, false);
            }
        });
        if (!isFinite)
        {
            Base.RequireFinite(name, 0, values);
        }

        return values;
    }

    /// <summary>Reads bytes as they are.</summary>
    private T[] ReadStored<T>(string name, LayerArrays arrays, ParallelOptions threads)
        where T : unmanaged
    {
        var tensor = Base.GetTensor(name);
        var values = arrays.Take<T>(LengthOf(tensor));
        ReadChecked(tensor, threads, (first, bytes) => bytes.CopyTo(MemoryMarshal.AsBytes(values.AsSpan())[(int)first..]));
        return values;
    }

    private int LengthOf(TensorDescription tensor) => tensor.ElementCount <= Array.MaxLength
        ? (int)tensor.ElementCount
        : throw new CheckpointException(
            Base.FileOf(tensor.Name).Path, "the tensor is too large for one array", tensor.Name, $"at most {Array.MaxLength} elements", $"{tensor.ElementCount}");

    private void VerifyChecksum(string name) => ReadChecked(Base.GetTensor(name), OneThread, (_, _) => { });

    /// <summary>
    /// Reads a tensor from its file in pieces and compares it with its checksum. Not from the mapping: what is read there stays in the process's memory.
    /// </summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="threads">Read pieces at the same time.</param>
    /// <param name="receive">Told where each piece begins, in bytes, and what it is; in any order, and by several threads at once.</param>
    private void ReadChecked(TensorDescription tensor, ParallelOptions threads, Action<long, ReadOnlySpan<byte>> receive)
    {
        const int Piece = 1 << 18;
        var file = Base.FileOf(tensor.Name);
        var checksums = new uint[(int)((tensor.ByteCount + Piece - 1) / Piece)];
        ParallelLoop.For(checksums.Length, threads, index =>
        {
            var buffer = ArrayPool<byte>.Shared.Rent(Piece);
            try
            {
                var piece = buffer.AsSpan(0, LengthOfPiece(index));
                file.CopyBytes(tensor.Name, (long)index * Piece, piece);
                checksums[index] = Crc32C.Compute(piece);
                receive((long)index * Piece, piece);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        });

        var shift = Crc32C.ShiftOf(Piece);
        var whole = Crc32C.Compute([]);
        for (var index = 0; index < checksums.Length; index++)
        {
            var length = LengthOfPiece(index);
            whole = Crc32C.Combine(whole, checksums[index], length == Piece ? shift : Crc32C.ShiftOf(length));
        }

        var found = ArmorFormat.ChecksumEntry(tensor.Name, whole).Value;
        var expected = ArmorFormat.ChecksumEntry(tensor.Name, _checksums[tensor.Name]).Value;
        if (found != expected)
        {
            throw new CheckpointException(file.Path, "the data differs from its checksum", tensor.Name, $"CRC-32C {expected}", found);
        }

        int LengthOfPiece(int index) => (int)Math.Min(Piece, tensor.ByteCount - ((long)index * Piece));
    }
}
