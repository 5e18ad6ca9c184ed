using System.Diagnostics;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;

namespace Armor.Cli.Studies;

/// <summary>Prunes a model in several ways and measures each result from its files.</summary>
/// <param name="name">What is studied.</param>
/// <param name="model">The dense model's folder.</param>
/// <param name="evaluation">The sequences to measure on.</param>
/// <param name="work">The runs that are finished.</param>
internal sealed class StudyRunner(string name, string model, IReadOnlyList<int[]> evaluation, StudyWork work)
{
    /// <summary>Runs every variant; pruned models lie in a temporary folder and are deleted.</summary>
    internal async Task<StudyResult> RunAsync(IReadOnlyList<StudyVariant> variants, IProgress<Step> progress, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        PerplexityResult dense = await Task.Run(() => Evaluate(model, cancellationToken), cancellationToken).ConfigureAwait(false);
        var runs = new List<(StudyVariant Variant, StudyMeasurement Measurement)>();
        string root = Directory.CreateTempSubdirectory("armor-study-").FullName;
        try
        {
            foreach ((int index, StudyVariant variant) in variants.Index())
            {
                progress.Report(Step.Timed((double)index / variants.Count, variant.Setting, watch.Elapsed));
                if (work.Find(variant) is not { } measurement)
                {
                    measurement = await MeasureAsync(variant, Path.Combine(root, "model"), dense, cancellationToken).ConfigureAwait(false);
                    work.Keep(variant, measurement);
                }

                runs.Add((variant, measurement));
            }
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        StudyRow[] rows = [.. runs.GroupBy(run => run.Variant.Setting).Select(group => new StudyRow(
            group.Key,
            group.First().Variant.Curve,
            group.First().Measurement.Storage,
            [.. group.Select(run => run.Measurement.DeltaNll)],
            group.Average(run => run.Measurement.Seconds),
            group.Average(run => run.Measurement.OptimiserSeconds)))];
        string folderName = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(model)));
        return new StudyResult(name, folderName, dense.Nll, runs.Max(run => run.Measurement.StandardError ?? 0), rows);
    }

    private async Task<StudyMeasurement> MeasureAsync(StudyVariant variant, string folder, PerplexityResult dense, CancellationToken cancellationToken)
    {
        var options = new ModelPrunerOptions { Pruner = variant.Options, MaxSamples = variant.Texts.Count };
        ModelPruningReport report = await ModelPruner.PruneAsync(model, folder, variant.Texts, options, null, cancellationToken).ConfigureAwait(false);
        PerplexityResult result = await Task.Run(() => Evaluate(folder, cancellationToken), cancellationToken).ConfigureAwait(false);
        Directory.Delete(folder, recursive: true);
        NllDifference difference = result.Minus(dense);
        return new StudyMeasurement(
            (double)report.Bytes / report.DenseBytes, difference.Delta, difference.StandardError, report.Seconds, report.Linears.Sum(linear => linear.Seconds));
    }

    private PerplexityResult Evaluate(string folder, CancellationToken cancellationToken)
    {
        using CausalLanguageModel loaded = CausalLanguageModel.Load(folder);
        return new PerplexityEvaluator(loaded).Evaluate(evaluation, null, cancellationToken);
    }
}
