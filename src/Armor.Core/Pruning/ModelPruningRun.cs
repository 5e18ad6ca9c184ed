using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Calibration.Streams;
using Armor.Core.Pruning.Allocation;
using Armor.Core.Pruning.Planning;
using Armor.Core.Pruning.Resuming;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// One run over a model: checks everything, walks the decoder layers in order, and puts the output together from the parts. What a linear
/// becomes depends on the inputs alone, never on time or on whether its part comes from an earlier run.
/// </summary>
internal sealed class ModelPruningRun(
    string model,
    string output,
    ILinearPruner pruner,
    ModelPrunerOptions options,
    IProgress<ModelPruningProgress>? progress,
    CancellationToken cancellationToken)
{
    private const long LargeWeight = 1 << 22;

    private readonly Stopwatch clock = Stopwatch.StartNew();

    /// <summary>Does all the work.</summary>
    /// <param name="tokenise">Gives the calibration sequences; called once the model's folder is known to be sound.</param>
    public ModelPruningReport Execute(Func<IEnumerable<int[]>> tokenise)
    {
        PruningWorkspace.RequireFree(output, options.Resume);
        if (ArmorCheckpoint.IsArmor(model))
        {
            throw new CheckpointException(model, "the model is pruned already", null, "a dense model", "an ARMOR checkpoint");
        }

        ModelConfiguration configuration = ModelConfiguration.Load(model);
        RequireWholeGroups(configuration);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(model);
        using var layerwise = new LayerwiseModel(checkpoint, configuration, orders: pruner.Orders(configuration, cancellationToken));
        IReadOnlyList<int[]> sequences = CalibrationSequences.Select(tokenise(), options.MaxSamples, configuration);
        MemoryPlan plan = MemoryPlan.For(configuration, options, pruner.Moments, sequences);
        layerwise.Verify(cancellationToken);

        ModelPrunerOptions effective = options with { TokensPerBatch = plan.TokensPerBatch };
        SortedDictionary<string, string> fingerprint =
            RunFingerprint.Compute(model, sequences, pruner.Fingerprint.Concat(effective.Fingerprint), cancellationToken);
        using PruningWorkspace workspace = PruningWorkspace.Open(output, options.Resume, fingerprint);
        TensorElementType storage = StorageOf(checkpoint, configuration, options);
        if (workspace.Published is not { } reports)
        {
            string[] names = [.. ModelShapes.LinearNames(configuration)];
            DiskPlan.For(checkpoint, configuration, options, storage, plan).Require(output, DiskPlan.Free(output), workspace.PresentBytes);
            reports = PruneLinears(layerwise, sequences, workspace, plan, names, storage);
            ArmorCheckpointWriter.Write(
                checkpoint, workspace.AssemblyFolder, names, storage, name => PartFile.Read(workspace.PathOf(name)).Layer, pruner.Pattern,
                options.ShardBytes, options.CoreStorage, cancellationToken);
            workspace.Publish(reports);
        }

        workspace.Delete();
        return new ModelPruningReport(reports, clock.Elapsed.TotalSeconds) { Storage = storage, CoreStorage = options.CoreStorage ?? storage };
    }

    private List<LinearPruningReport> PruneLinears(
        LayerwiseModel layerwise,
        IReadOnlyList<int[]> sequences,
        PruningWorkspace workspace,
        MemoryPlan plan,
        string[] names,
        TensorElementType storage)
    {
        var reports = new List<LinearPruningReport>();
        var tracker = new ProgressTracker(progress, clock, ModelShapes.Linears(layerwise.Configuration), names.Length);
        int unfinished = names.Count(name => !File.Exists(workspace.PathOf(name)));
        IReadOnlyList<CalibrationBatch> batches = [];
        CalibrationWalk? walk = null;
        IReadOnlyDictionary<string, BlockSizes> blocks = new Dictionary<string, BlockSizes>();
        var gradients = new GradientFiles(workspace.GradientFolder);
        try
        {
            if (unfinished > 0)
            {
                blocks = new Preparation(layerwise, sequences, pruner, options, plan, tracker.Announce, cancellationToken)
                    .Run(gradients, new TrialFiles(workspace.TrialFolder));
                batches = CalibrationBatch.Create(sequences, plan.TokensPerBatch, CPU, length => layerwise.Configuration.HasLongRotation(length));
                walk = new CalibrationWalk(
                    layerwise,
                    batches,
                    options.Calibration,
                    pruner.Moments.HasFlag(ActivationMoments.CrossMoment),
                    new WalkStorage(workspace.ActivationFolder, plan.StreamBytes, plan.KeptBytes, SpillKept: true),
                    FirstUnfinishedLayer(layerwise.Configuration, workspace),
                    cancellationToken);
            }

            int first = walk?.FirstLayer ?? layerwise.Configuration.LayerCount;
            for (int layer = 0; layer < layerwise.Configuration.LayerCount; layer++)
            {
                if (layer < first)
                {
                    TakeOver(ModelShapes.LayerPrefix(layer));
                    continue;
                }

                if (unfinished > 0)
                {
                    walk!.EnterLayer(layer);
                }

                foreach (var group in ModelShapes.Linears(layerwise.Configuration).GroupBy(linear => (linear.Group, linear.Expert)))
                {
                    PruneGroup(group, ModelShapes.LayerPrefix(layer));
                }

                if (unfinished > 0)
                {
                    walk!.CompleteLayer(layer);
                }
            }
        }
        finally
        {
            walk?.Dispose();
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }

        workspace.DeleteActivations();
        return reports;

        // All of the layer's linears come from an earlier run, and no activation is needed to go on after it.
        void TakeOver(string prefix)
        {
            foreach (LinearDescription linear in ModelShapes.Linears(layerwise.Configuration))
            {
                LinearPruningReport report = PartFile.ReadReport(workspace.PathOf(prefix + linear.Name));
                tracker.Finish(prefix + linear.Name, linear, report, resumed: true);
                reports.Add(report);
            }
        }

        void PruneGroup(IGrouping<(LinearGroup Group, int? Expert), LinearDescription> group, string prefix)
        {
            ActivationStatistics? statistics = null;
            try
            {
                foreach (LinearDescription linear in group)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    string name = prefix + linear.Name;
                    string path = workspace.PathOf(name);
                    ArmorLayer pruned;
                    LinearPruningReport report;
                    if (File.Exists(path))
                    {
                        (pruned, report) = PartFile.Read(path);
                        tracker.Finish(name, linear, report, resumed: true);
                    }
                    else
                    {
                        tracker.Begin(name);
                        statistics ??= walk!.Collect(group.Key.Group, group.Key.Expert, pruner.Moments, cancellationToken);
                        statistics.IsLastUse = linear == group.Last();
                        using GradientStatistics? outputs = pruner.UsesGradients ? gradients.Read(name) : null;
                        (pruned, report) = PruneLinear(
                            name, walk!.DenseWeight(linear.Name), statistics, outputs, blocks.TryGetValue(name, out BlockSizes own) ? own : null, storage, tracker);
                        PartFile.Write(path, pruned, storage, report);
                        unfinished--;
                        tracker.Finish(name, linear, report, resumed: false);
                    }

                    reports.Add(report);
                    if (linear.Rows * (long)linear.Columns >= LargeWeight)
                    {
                        // Arrays of a large weight that are garbage by now would lie about for long: the collector does not see libtorch's memory.
                        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                    }

                    if (unfinished > 0 && options.Calibration == CalibrationMode.Sequential)
                    {
                        using Tensor weight = tensor(pruned.ToDense(), [pruned.Rows, pruned.Columns], float32);
                        walk!.Replace(linear.Name, weight);
                    }
                }

                if (unfinished > 0)
                {
                    walk!.Pass(group.Key.Group, group.Key.Expert, cancellationToken);
                }
            }
            finally
            {
                statistics?.Dispose();
            }
        }
    }

    private static int FirstUnfinishedLayer(ModelConfiguration configuration, PruningWorkspace workspace) =>
        Enumerable.Range(0, configuration.LayerCount).First(layer =>
            ModelShapes.Linears(configuration).Any(linear => !File.Exists(workspace.PathOf(ModelShapes.LayerPrefix(layer) + linear.Name))));

    private (ArmorLayer Layer, LinearPruningReport Report) PruneLinear(
        string name,
        Tensor weight,
        ActivationStatistics statistics,
        GradientStatistics? gradients,
        BlockSizes? blocks,
        TensorElementType storage,
        ProgressTracker tracker)
    {
        var stopwatch = Stopwatch.StartNew();
        PrunedLinear pruned = pruner.Prune(name, weight, statistics, gradients, blocks, tracker, cancellationToken);
        if (options.CoreStorage is TensorElementType.Int8)
        {
            RequireFinite(name, pruned.Layer.Core.Values, storage);
        }

        (ArmorLayer layer, string? note) = StorageRange.Round(pruned.Layer, storage, options.CoreStorage);
        RequireFinite(name, layer.Core.IsQuantised ? default : layer.Core.Values, storage);
        RequireFinite(name, layer.InputWrapper?.Values ?? default, storage);
        RequireFinite(name, layer.OutputWrapper?.Values ?? default, storage);
        return (layer, new LinearPruningReport
        {
            Name = name,
            Rows = layer.Rows,
            Columns = layer.Columns,
            OutputBlock = layer.OutputWrapper?.BlockSize ?? 1,
            InputBlock = layer.InputWrapper?.BlockSize ?? 1,
            Loss = pruned.Loss,
            StartLoss = pruned.StartLoss,
            Seconds = stopwatch.Elapsed.TotalSeconds,
            Bytes = layer.StorageBytes(storage, options.CoreStorage),
            Notes = [.. statistics.Notes, .. pruned.Notes, .. note is null ? (string[])[] : [note]],
        });
    }

    /// <summary>The type that results are stored in: one for the whole folder.</summary>
    /// <param name="checkpoint">The dense model.</param>
    /// <param name="configuration">Of the same model.</param>
    /// <param name="options">May name the type.</param>
    internal static TensorElementType StorageOf(CheckpointFolder checkpoint, ModelConfiguration configuration, ModelPrunerOptions options) =>
        options.Storage
        ?? (ModelShapes.LinearNames(configuration).All(name => checkpoint.GetTensor(name + ".weight").ElementType == TensorElementType.BFloat16)
            ? TensorElementType.BFloat16
            : TensorElementType.Float16);

    private void RequireWholeGroups(ModelConfiguration configuration)
    {
        foreach (LinearDescription linear in ModelShapes.Linears(configuration).Where(linear => linear.Columns % pruner.Pattern.Group != 0))
        {
            throw new CheckpointException(
                model,
                $"the weight cannot be {pruner.Pattern}",
                ModelShapes.LayerPrefix(0) + linear.Name + ".weight",
                $"[d_out, d_in] with d_in a multiple of {pruner.Pattern.Group}",
                $"[{linear.Rows}, {linear.Columns}]");
        }
    }

    private void RequireFinite(string name, ReadOnlyMemory<float> values, TensorElementType storage)
    {
        foreach (float value in values.Span)
        {
            if (!float.IsFinite(value))
            {
                throw new CheckpointException(
                    model, $"a pruned value exceeds {storage}; choose a storage type of wider range", name, "finite values", $"{value}");
            }
        }
    }
}
