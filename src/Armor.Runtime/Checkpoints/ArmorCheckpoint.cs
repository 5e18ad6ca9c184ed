using System.Collections.Frozen;
using System.Globalization;
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
        Layers = ReadLayers(folder, format);
        _layers = Layers.ToFrozenDictionary(layer => layer.Name, StringComparer.Ordinal);
        PrunedLinears = [.. Layers.Select(layer => layer.Name)];
    }

    /// <summary>The folder with all its tensors, the factors of the pruned linears among them.</summary>
    public CheckpointFolder Base { get; }

    /// <summary>The pruned linears in the order in which they were written, such as <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public IReadOnlyList<string> PrunedLinears { get; }

    /// <summary>Shapes and sizes of the pruned linears, in the same order.</summary>
    public IReadOnlyList<ArmorLayerDescription> Layers { get; }

    /// <summary>The stored type of wrappers and kept values.</summary>
    public TensorElementType ElementType => _format.ElementType;

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
    /// <exception cref="CheckpointException">The linear is not pruned, a checksum differs, the mask is not of the pattern or a value is not finite.</exception>
    public ArmorLayer ReadLayer(string linear)
    {
        var layer = GetLayer(linear);
        var values = ReadValues(linear + ArmorFormat.CoreValues);
        var maskName = linear + ArmorFormat.CoreMask;
        VerifyChecksum(maskName);
        var mask = Base.GetBytes(maskName).ToArray();
        if (SparseCore.FindInvalidGroup(mask, layer.Rows, layer.Columns, Pattern) is { } group)
        {
            throw new CheckpointException(
                Base.FileOf(maskName).Path,
                $"the mask is not {Pattern}: {group.Place}",
                maskName,
                group.Column < layer.Columns ? $"{group.Expected} bits" : "no bits beyond the last column",
                group.Count.ToString(CultureInfo.InvariantCulture));
        }

        var output = layer.OutputBlock is { } a ? new BlockDiagonalMatrix(layer.Rows / a, a, ReadValues(linear + ArmorFormat.OutputBlocks)) : null;
        var input = layer.InputBlock is { } b ? new BlockDiagonalMatrix(layer.Columns / b, b, ReadValues(linear + ArmorFormat.InputBlocks)) : null;
        return new ArmorLayer(output, new SparseCore(layer.Rows, layer.Columns, values, mask, Pattern), input);
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

    private static List<ArmorLayerDescription> ReadLayers(CheckpointFolder folder, ArmorFormat format)
    {
        var layers = new List<ArmorLayerDescription>();
        foreach (var tensor in folder.TensorsInFileOrder)
        {
            var infix = tensor.Name.LastIndexOf(ArmorFormat.Infix, StringComparison.Ordinal);
            if (infix < 0)
            {
                continue;
            }

            var linear = tensor.Name[..infix];
            var part = tensor.Name[infix..];
            if (part is not (ArmorFormat.CoreValues or ArmorFormat.CoreMask or ArmorFormat.InputBlocks or ArmorFormat.OutputBlocks))
            {
                throw new CheckpointException(
                    folder.FileOf(tensor.Name).Path, "the ARMOR tensor is unknown", tensor.Name, "core_values, core_mask, input_blocks or output_blocks", part);
            }

            if (!folder.Contains(linear + ArmorFormat.CoreValues))
            {
                throw new CheckpointException(folder.FileOf(tensor.Name).Path, "the core's values are missing", tensor.Name, linear + ArmorFormat.CoreValues, "none");
            }

            if (part == ArmorFormat.CoreValues)
            {
                layers.Add(DescribeLayer(folder, format, linear, tensor));
            }
        }

        return layers;
    }

    private static ArmorLayerDescription DescribeLayer(CheckpointFolder folder, ArmorFormat format, string linear, TensorDescription values)
    {
        var pattern = format.Pattern;
        if (folder.Contains(linear + ".weight"))
        {
            throw new CheckpointException(
                folder.FileOf(linear + ".weight").Path, "the linear is stored both dense and pruned", linear + ".weight", "no dense weight", "one");
        }

        if (values.Shape.Count != 2 || values.Shape[0] <= 0 || values.Shape[1] <= 0 || values.Shape[1] % pattern.Kept != 0
            || values.Shape[0] > Array.MaxLength || values.Shape[1] > Array.MaxLength
            || (decimal)values.ElementCount / pattern.Kept * pattern.Group > Array.MaxLength)
        {
            throw new CheckpointException(
                folder.FileOf(values.Name).Path,
                "the shape is not that of a core's values",
                values.Name,
                $"[d_out, d_in·{pattern.Kept}/{pattern.Group}] with d_in a multiple of {pattern.Group} and at most {Array.MaxLength} elements dense",
                values.ShapeText);
        }

        var rows = (int)values.Shape[0];
        var columns = (int)values.Shape[1] / pattern.Kept * pattern.Group;
        Require(values, format.ElementType, rows, pattern.KeptOf(columns));
        var bytes = values.ByteCount + Require(folder.GetTensor(linear + ArmorFormat.CoreMask), TensorElementType.UInt8, rows, SparseCore.MaskRowBytes(columns));
        var outputBlock = Wrapper(linear + ArmorFormat.OutputBlocks, rows);
        var inputBlock = Wrapper(linear + ArmorFormat.InputBlocks, columns);
        return new ArmorLayerDescription(
            linear, rows, columns, outputBlock, inputBlock, bytes, (long)rows * columns * format.SourceElementType.ByteSize());

        int? Wrapper(string name, int size)
        {
            if (!folder.Contains(name))
            {
                return null;
            }

            var tensor = folder.GetTensor(name);
            var block = tensor.Shape.Count == 3 ? tensor.Shape[1] : 0;
            if (block <= 0 || block > size || size % block != 0)
            {
                throw new CheckpointException(
                    folder.FileOf(name).Path, "the shape is not that of a wrapper", name, $"[{size} / b, b, b] with b a divisor of {size}", tensor.ShapeText);
            }

            bytes += Require(tensor, format.ElementType, size / block, block, block);
            return (int)block;
        }

        long Require(TensorDescription tensor, TensorElementType type, params long[] shape)
        {
            var expected = new TensorDescription(tensor.Name, type, shape);
            return tensor.Equals(expected)
                ? tensor.ByteCount
                : throw new CheckpointException(
                    folder.FileOf(tensor.Name).Path,
                    "type or shape does not agree with the core",
                    tensor.Name,
                    $"{type.SafetensorsName()} {expected.ShapeText}",
                    $"{tensor.ElementType.SafetensorsName()} {tensor.ShapeText}");
        }
    }

    private float[] ReadValues(string name)
    {
        VerifyChecksum(name);
        return Base.ReadFiniteFloat32(name);
    }

    private void VerifyChecksum(string name)
    {
        const int Piece = 1 << 24;
        var size = Base.GetTensor(name).ByteCount;
        var state = Crc32C.Start;
        for (long start = 0; start < size; start += Piece)
        {
            state = Crc32C.Update(state, Base.GetBytes(name, start, (int)Math.Min(Piece, size - start)));
        }

        var found = ArmorFormat.ChecksumEntry(name, Crc32C.Finish(state)).Value;
        var expected = ArmorFormat.ChecksumEntry(name, _checksums[name]).Value;
        if (found != expected)
        {
            throw new CheckpointException(Base.FileOf(name).Path, "the data differs from its checksum", name, $"CRC-32C {expected}", found);
        }
    }
}
