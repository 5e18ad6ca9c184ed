using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Onnx.Calibration;
using Armor.Onnx.Files;
using Armor.Onnx.Graphs;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Microsoft.ML.OnnxRuntime;
using TorchSharp;

namespace Armor.Onnx.Pruning;

/// <summary>
/// One run over a model. Three copies of its graph: the source, whose activations are the dense ones; the output, in which factors take the place of
/// weights; and, where calibration is sequential, one with the factors multiplied out, whose activations are those of what is pruned so far.
/// </summary>
internal sealed class OnnxPruningRun(
    string model,
    string output,
    IEnumerable<IReadOnlyCollection<NamedOnnxValue>> calibration,
    OnnxPrunerOptions options,
    IProgress<ModelPruningProgress>? progress,
    CancellationToken cancellationToken)
{
    // Initializers need not be inputs of the graph since this version.
    private const int FreeInitializers = 4;

    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly ArmorPruner _pruner = ArmorPruner.Create(options.Pruner);
    private readonly List<OnnxLinearReport> _reports = [];
    private readonly List<SkippedNode> _skipped = [];
    private readonly Dictionary<string, int> _ranks = new(StringComparer.Ordinal);
    private long _work;
    private long _allWork;
    private int _count;

    public OnnxPruningReport Execute()
    {
        OnnxOutput.RequireFree(output);
        using OnnxFile source = OnnxFile.Open(model);
        using OnnxFile target = OnnxFile.Wrap(model, source.Model.Clone());
        (IReadOnlyList<PrunableWeight> weights, IReadOnlyList<SkippedNode> skipped) = LinearFinder.Find(target, options);
        _skipped.AddRange(skipped);
        if (weights.Count == 0)
        {
            throw new OnnxException(
                model, "no weight can be pruned", null, "a MatMul or Gemm by a constant matrix", skipped.Count == 0
                    ? "none"
                    : $"{skipped.Count} that were left out, the first since {skipped[0].Reason}");
        }

        (_count, _allWork) = (weights.Count, weights.Sum(Work));
        using OnnxOutput place = OnnxOutput.File(output);
        using var writer = new OnnxModelWriter(place.TemporaryPath, options.ExternalData ?? source.HasExternalData);
        var rewriter = new GraphRewriter(target.Graph, writer.Take);
        if (options.Calibration == CalibrationMode.Sequential)
        {
            PruneByLevels(source, target, weights, rewriter);
        }
        else
        {
            PruneRounds(weights, source, null, target, rewriter, null);
        }

        rewriter.Finish();
        target.Model.IrVersion = Math.Max(target.Model.IrVersion, FreeInitializers);
        writer.Write(target, cancellationToken);
        writer.Dispose();
        place.Commit();
        return new OnnxPruningReport(_reports, _skipped, _clock.Elapsed.TotalSeconds);
    }

    private static long Work(PrunableWeight weight) => (long)weight.Rows * weight.Columns;

    private void PruneByLevels(OnnxFile source, OnnxFile target, IReadOnlyList<PrunableWeight> weights, GraphRewriter rewriter)
    {
        using OnnxFile current = OnnxFile.Wrap(model, source.Model.Clone());

        // The same nodes, of the other copy of the graph.
        Dictionary<string, PrunableWeight> copies = LinearFinder.Find(current, options).Weights.ToDictionary(Key, StringComparer.Ordinal);
        bool isDense = true;
        foreach (var level in weights.GroupBy(weight => weight.Level).OrderBy(level => level.Key))
        {
            var products = new GraphRewriter(current.Graph, null);
            PruneRounds([.. level], current, isDense ? null : source, target, rewriter, (weight, layer) => products.ReplaceDense(copies[Key(weight)], layer.ToDense()));
            products.Finish();
            isDense = false;
        }

        static string Key(PrunableWeight weight) => string.Join('\n', weight.Uses.Select(use => use.Output));
    }

    // As many weights at a time as Hessians fit into memory.
    private void PruneRounds(
        IReadOnlyList<PrunableWeight> weights,
        OnnxFile activations,
        OnnxFile? dense,
        OnnxFile target,
        GraphRewriter rewriter,
        Action<PrunableWeight, ArmorLayer>? pruned)
    {
        var groups = new Queue<InputGroup>(InputGroup.Of(weights));
        while (groups.Count > 0)
        {
            List<InputGroup> round = [groups.Dequeue()];
            long bytes = round[0].Bytes(dense is not null);
            while (groups.TryPeek(out InputGroup? next) && (bytes += next.Bytes(dense is not null)) <= options.MemoryBudget)
            {
                round.Add(groups.Dequeue());
            }

            IReadOnlyList<ActivationStatistics> statistics =
                HessianCollector.Collect(round, activations, dense, calibration, _ranks, options.Runtime, cancellationToken);
            try
            {
                foreach ((InputGroup group, ActivationStatistics inputs) in round.Zip(statistics))
                {
                    foreach (PrunableWeight weight in group.Weights)
                    {
                        if (Prune(target, weight, inputs) is { } layer)
                        {
                            rewriter.Replace(weight, layer, _ranks, options.CoreFormat);
                            pruned?.Invoke(weight, layer);
                        }
                    }
                }
            }
            finally
            {
                foreach (ActivationStatistics inputs in statistics)
                {
                    inputs.Dispose();
                }
            }
        }
    }

    private ArmorLayer? Prune(OnnxFile file, PrunableWeight weight, ActivationStatistics statistics)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (weight.Uses.FirstOrDefault(use => _ranks[use.Input] < 1) is { } unsteady)
        {
            Skip(weight, $"the number of dimensions of '{unsteady.Input}' differs from run to run");
            return null;
        }

        var watch = Stopwatch.StartNew();
        float[] values = weight.Read(file);
        RequireFinite(weight, values);
        Report(weight, null, isFinished: false);
        PrunedWeight pruned;

        // A copy in libtorch's memory, whose alignment is always the same: rounding in its products depends on it.
        using (torch.Tensor array = torch.tensor(values, [weight.Rows, weight.Columns]))
        using (torch.Tensor tensor = array.clone())
        {
            pruned = _pruner.Prune(tensor, statistics, weight.Name, null, new LossProgress(loss => Report(weight, loss, isFinished: false)), cancellationToken);
        }

        TensorElementType storage = weight.Constant.Storage;
        ArmorLayer layer = pruned.Layer.RoundedTo(storage);
        if (!IsFinite(layer))
        {
            Skip(weight, $"its factors exceed {storage}");
            return null;
        }

        _reports.Add(new OnnxLinearReport
        {
            Name = weight.Name,
            Nodes = [.. weight.Uses.Select(use => SkippedNode.NameOf(use.Node))],
            Rows = weight.Rows,
            Columns = weight.Columns,
            OutputBlock = layer.OutputWrapper?.BlockSize ?? 1,
            InputBlock = layer.InputWrapper?.BlockSize ?? 1,
            Loss = pruned.Loss,
            StartLoss = pruned.StartLoss,
            Seconds = watch.Elapsed.TotalSeconds,
            Bytes = ArmorWeight.StoredBytes(layer, storage, options.CoreFormat),
            DenseBytes = weight.Constant.StoredBytes,
            Notes = pruned.Notes,
        });
        _work += Work(weight);
        Report(weight, pruned.Loss, isFinished: true);
        return layer;
    }

    private void Skip(PrunableWeight weight, string reason)
    {
        _skipped.AddRange(weight.Uses.Select(use => SkippedNode.Of(use.Node, reason)));
        _work += Work(weight);
        _count--;
    }

    private void Report(PrunableWeight weight, double? loss, bool isFinished)
    {
        TimeSpan elapsed = _clock.Elapsed;
        TimeSpan? remaining = _work == 0 ? null : elapsed * ((double)(_allWork - _work) / _work);
        progress?.Report(new ModelPruningProgress(weight.Name, _reports.Count, _count, loss, isFinished, false, elapsed, remaining));
    }

    private void RequireFinite(PrunableWeight weight, float[] values)
    {
        int index = Array.FindIndex(values, value => !float.IsFinite(value));
        if (index >= 0)
        {
            throw new OnnxException(
                model, "a weight is not finite", $"tensor '{weight.Constant.RootName}'", "finite values",
                $"{values[index]} for output {index / weight.Columns} and input {index % weight.Columns}");
        }
    }

    private static bool IsFinite(ArmorLayer layer)
    {
        foreach (ReadOnlyMemory<float> values in new[] { layer.Core.Values, layer.InputWrapper?.Values ?? default, layer.OutputWrapper?.Values ?? default })
        {
            foreach (float value in values.Span)
            {
                if (!float.IsFinite(value))
                {
                    return false;
                }
            }
        }

        return true;
    }

    // Progress<T> would post to another thread and lose the order.
    private sealed class LossProgress(Action<double> report) : IProgress<PruningProgress>
    {
        public void Report(PruningProgress value) => report(value.Loss);
    }
}
