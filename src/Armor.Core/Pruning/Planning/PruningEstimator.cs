using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Core.Pruning.Planning;

/// <summary>Foretells a run: sizes by the same plans that the run follows, times by short measurements put together.</summary>
internal static class PruningEstimator
{
    private const int DiskProbe = 1 << 26;

    /// <summary>Estimates a run.</summary>
    /// <param name="model">The dense model's folder.</param>
    /// <param name="output">The folder that the run would write.</param>
    /// <param name="tokenise">Gives the calibration sequences.</param>
    /// <param name="pruner">As of the run.</param>
    /// <param name="options">As of the run.</param>
    /// <param name="cancellationToken">Stops the measurements.</param>
    public static PruningEstimate Estimate(
        string model, string output, Func<IEnumerable<int[]>> tokenise, ILinearPruner pruner, ModelPrunerOptions options, CancellationToken cancellationToken)
    {
        ModelConfiguration configuration = ModelConfiguration.Load(model);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(model);
        using var layerwise = new LayerwiseModel(checkpoint, configuration);
        IReadOnlyList<int[]> sequences = CalibrationSequences.Select(tokenise(), options.MaxSamples, configuration);
        CheckpointVerification.Verify(checkpoint);
        MemoryPlan memory = MemoryPlan.For(configuration, options, pruner.Moments, sequences);
        DiskPlan disk = DiskPlan.For(checkpoint, configuration, options, ModelPruningRun.StorageOf(checkpoint, configuration, options), memory);

        long tokens = sequences.Sum(sequence => (long)sequence.Length);
        bool two = pruner.Moments.HasFlag(ActivationMoments.CrossMoment) && options.Calibration == CalibrationMode.Sequential;
        ActivationMoments moments = pruner.Moments & ~(two ? 0 : ActivationMoments.CrossMoment | ActivationMoments.ResidualMoment);
        IReadOnlyList<LinearDescription> linears = ModelShapes.Linears(configuration);

        double calibration = TimedCalibration.ForwardSeconds(layerwise, sequences, memory.TokensPerBatch, options.Calibration, two, cancellationToken);
        double head = 0;
        if (pruner.UsesGradients)
        {
            // A backward pass has batches of half the size, as the run makes them.
            (double layer, head) = TimedCalibration.GradientSeconds(
                layerwise, Preparation.First(sequences, options.GradientTokens), Math.Max(1, memory.TokensPerBatch / 2), cancellationToken);
            calibration += layer;
        }

        if (pruner.Orders(configuration, cancellationToken) is not null)
        {
            calibration += TimedOrder.Seconds(configuration, cancellationToken);
        }

        bool allocates = Preparation.Allocates(pruner, options, configuration);
        if (allocates)
        {
            calibration += TrialInputSeconds(layerwise, sequences, options, memory.TokensPerBatch, cancellationToken);
        }

        foreach (var alike in linears.DistinctBy(linear => (linear.Group, linear.Expert))
            .Select(linear => (linear.Columns, linear.Rows, Residual: CalibrationWalk.WritesToStream(configuration, linear.Group)))
            .GroupBy(group => group with { Rows = group.Residual ? group.Rows : 0 }))
        {
            cancellationToken.ThrowIfCancellationRequested();
            ActivationMoments own = alike.Key.Residual ? moments : moments & ~ActivationMoments.ResidualMoment;
            calibration += alike.Count() * TimedCalibration.MomentSeconds(alike.Key.Columns, alike.Key.Rows, own, tokens, memory.TokensPerBatch);
        }

        double pruning = 0;
        foreach (var shape in linears.GroupBy(linear => (linear.Rows, linear.Columns)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            (double once, double trial) = TimedPruning.Seconds(
                options.Pruner, shape.Key.Rows, shape.Key.Columns, moments & ~ActivationMoments.ResidualMoment, cancellationToken);

            // Of the sizes tried some cost less than the usual one, others more: about as much in the mean.
            int trials = allocates ? pruner.BlockChoices(shape.Key.Rows, shape.Key.Columns).Count : 0;
            pruning += shape.Count() * (once + (trials * trial));
        }

        return new PruningEstimate
        {
            CalibrationSeconds = (calibration * configuration.LayerCount) + head,
            PruningSeconds = pruning * configuration.LayerCount,
            FileSeconds = FileSeconds(checkpoint, configuration, output, memory, disk),
            PeakMemory = memory.Peak,
            WorkBytes = disk.WorkBytes,
            OutputBytes = disk.OutputBytes,
            FreeBytes = DiskPlan.Free(output),
            TokensPerBatch = memory.TokensPerBatch,
        };
    }

    // The pass through the dense model that block sizes are tried in, for one layer.
    private static double TrialInputSeconds(
        LayerwiseModel model, IReadOnlyList<int[]> sequences, ModelPrunerOptions options, int tokensPerBatch, CancellationToken cancellationToken)
    {
        List<int[]> own = Preparation.First(sequences, options.GradientTokens);
        long tokens = own.Sum(sequence => (long)sequence.Length);
        return TimedCalibration.ForwardSeconds(model, own, tokensPerBatch, CalibrationMode.Dense, two: false, cancellationToken)
            + ModelShapes.Linears(model.Configuration).DistinctBy(linear => (linear.Group, linear.Expert)).GroupBy(linear => linear.Columns).Sum(alike =>
                alike.Count() * TimedCalibration.MomentSeconds(alike.Key, 0, ActivationMoments.Hessian, tokens, tokensPerBatch));
    }

    // The model is read three times: to check it, to take its hash, and layer by layer, which is measured with the forward passes.
    private static double FileSeconds(CheckpointFolder checkpoint, ModelConfiguration configuration, string output, MemoryPlan memory, DiskPlan disk)
    {
        long modelBytes = checkpoint.TensorsInFileOrder.Sum(tensor => tensor.ByteCount);
        TensorDescription probe = checkpoint.TensorsInFileOrder.MaxBy(tensor => tensor.ByteCount)!;
        var buffer = new float[Math.Min(probe.ElementCount, DiskProbe / sizeof(float))];
        var stopwatch = Stopwatch.StartNew();
        checkpoint.ReadFiniteFloat32(probe.Name, 0, buffer);
        double readSeconds = stopwatch.Elapsed.TotalSeconds / ((double)buffer.Length * probe.ByteCount / probe.ElementCount);

        byte[] bytes = new byte[DiskProbe];
        stopwatch.Restart();
        System.Security.Cryptography.SHA256.HashData(bytes);
        double hashSeconds = stopwatch.Elapsed.TotalSeconds / bytes.Length;
        double writeSeconds = WriteSeconds(output, bytes);

        // Streams: twice a layer where they lie in files, once where only the boundary does; read as often. Inputs of a group once each way.
        long spilled = memory.StreamTotal - Math.Min(memory.StreamBytes, memory.StreamTotal);
        double layers = configuration.LayerCount;
        double moved = ((memory.StreamTotal + spilled) * (layers - 1)) + (Math.Max(0, memory.KeptTotal - memory.KeptBytes) * layers);
        return (modelBytes * (readSeconds + hashSeconds))
            + (moved * (writeSeconds + hashSeconds))
            + ((disk.PartBytes + disk.OutputBytes) * writeSeconds);
    }

    private static double WriteSeconds(string output, byte[] bytes)
    {
        string? folder = Path.GetDirectoryName(Path.GetFullPath(output));
        string path = Path.Combine(folder is not null && Directory.Exists(folder) ? folder : Path.GetTempPath(), $".armor-{Guid.NewGuid():n}.probe");
        try
        {
            var stopwatch = Stopwatch.StartNew();
            using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose);
            stream.Write(bytes);
            stream.Flush(flushToDisk: true);
            return stopwatch.Elapsed.TotalSeconds / bytes.Length;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A run would fail there; what it needs can be told all the same.
            return 0;
        }
    }
}
