using Armor.Core.Calibration;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;

namespace Armor.Core.Pruning.Planning;

/// <summary>What a run writes.</summary>
/// <param name="OutputBytes">The output folder with wrappers of one size everywhere: exact there, an upper bound but for headers where sizes are allocated.</param>
/// <param name="PartBytes">The finished linears in the work folder.</param>
/// <param name="ActivationBytes">The most that activations take in the work folder at once.</param>
internal sealed record DiskPlan(long OutputBytes, long PartBytes, long ActivationBytes)
{
    private const long PartHeader = 4096;

    /// <summary>The most that the work folder holds at once: activations until the last linear is finished, then the output.</summary>
    public long WorkBytes => PartBytes + Math.Max(ActivationBytes, OutputBytes);

    /// <summary>Plans a run.</summary>
    public static DiskPlan For(CheckpointFolder checkpoint, ModelConfiguration configuration, ModelPrunerOptions options, TensorElementType storage, MemoryPlan memory)
    {
        ArmorLayerDescription[] layers = [.. Enumerable.Range(0, configuration.LayerCount).SelectMany(layer =>
            ModelShapes.Linears(configuration).Select(linear => Describe(ModelShapes.LayerPrefix(layer) + linear.Name, linear, options, storage)))];

        // A stream lies in two files while it moves from one layer boundary to the next.
        long activations = configuration.LayerCount > 1 || memory.StreamBytes < memory.StreamTotal ? 2 * memory.StreamTotal : 0;
        return new DiskPlan(
            ArmorCheckpointWriter.OutputBytes(checkpoint, layers, storage, options.Pruner.Pattern, options.ShardBytes, options.CoreStorage),
            layers.Sum(layer => layer.Bytes + PartHeader),
            activations + Math.Max(0, memory.KeptTotal - memory.KeptBytes));
    }

    /// <summary>What is free at a place, or at the nearest folder above it that exists.</summary>
    public static long Free(string path)
    {
        string? folder = Path.GetFullPath(path);
        while (folder is not null && !Directory.Exists(folder))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder is null ? long.MaxValue : new DriveInfo(folder).AvailableFreeSpace;
    }

    /// <summary>Checks that a run will not fill the disk.</summary>
    /// <param name="path">Where the run writes.</param>
    /// <param name="free">What is free there.</param>
    /// <param name="present">What an earlier run has left there that this one goes on with.</param>
    /// <exception cref="IOException">There is less room than the run needs; names both.</exception>
    public void Require(string path, long free, long present)
    {
        long needed = WorkBytes - present;
        if (free < needed)
        {
            throw new IOException(
                $"There is not enough room for {path}: the run needs {needed} bytes ({needed / 1e9:0.0} GB) at its widest, found {free} free ({free / 1e9:0.0} GB).");
        }
    }

    private static ArmorLayerDescription Describe(string name, LinearDescription linear, ModelPrunerOptions run, TensorElementType storage)
    {
        ArmorPrunerOptions options = run.Pruner;
        BlockSizes sizes = options.Method == PruningMethod.Armor ? BlockSizes.For(options, linear.Rows, linear.Columns) : default;
        long elements = (long)linear.Rows * linear.Columns;
        long core = SparseCore.StorageBytes(linear.Rows, linear.Columns, run.CoreStorage ?? storage, options.Pattern);
        return new ArmorLayerDescription(
            name, linear.Rows, linear.Columns, sizes.Output, sizes.Input, (sizes.Values(linear.Rows, linear.Columns) * storage.ByteSize()) + core, elements * 2);
    }
}
