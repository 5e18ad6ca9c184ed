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
internal sealed class StudyRunner(string name, string model, IReadOnlyList<int[]> evaluation)
{
    /// <summary>Runs every variant; pruned models lie in a temporary folder and are deleted.</summary>
    internal async Task<StudyResult> RunAsync(IReadOnlyList<StudyVariant> variants, IProgress<Step> progress, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        PerplexityResult dense = await Task.Run(() => Evaluate(model, cancellationToken), cancellationToken).ConfigureAwait(false);
        var runs = new List<StudyRun>();
        string work = Directory.CreateTempSubdirectory("armor-study-").FullName;
        try
        {
            foreach ((int index, StudyVariant variant) in variants.Index())
            {
                progress.Report(Step.Timed((double)index / variants.Count, variant.Setting, watch.Elapsed));
                string folder = Path.Combine(work, "model");
                var options = new ModelPrunerOptions { Pruner = variant.Options, MaxSamples = variant.Texts.Count };
                ModelPruningReport report = await ModelPruner.PruneAsync(model, folder, variant.Texts, options, null, cancellationToken).ConfigureAwait(false);
                PerplexityResult result = await Task.Run(() => Evaluate(folder, cancellationToken), cancellationToken).ConfigureAwait(false);
                runs.Add(new StudyRun(variant, report, result.Minus(dense)));
                Directory.Delete(folder, recursive: true);
            }
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }

        StudyRow[] rows = [.. runs.GroupBy(run => run.Variant.Setting).Select(group => new StudyRow(
            group.Key,
            group.First().Variant.Curve,
            (double)group.First().Report.Bytes / group.First().Report.DenseBytes,
            [.. group.Select(run => run.Difference.Delta)],
            group.Average(run => run.Report.Seconds),
            group.Average(run => run.Report.Linears.Sum(linear => linear.Seconds))))];
        return new StudyResult(name, dense.Nll, runs.Max(run => run.Difference.StandardError ?? 0), rows);
    }

    private PerplexityResult Evaluate(string folder, CancellationToken cancellationToken)
    {
        using CausalLanguageModel loaded = CausalLanguageModel.Load(folder);
        return new PerplexityEvaluator(loaded).Evaluate(evaluation, null, cancellationToken);
    }

    private sealed record StudyRun(StudyVariant Variant, ModelPruningReport Report, NllDifference Difference);
}
