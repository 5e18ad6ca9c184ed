using System.Diagnostics;
using Armor.Cli.Commands;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Tokenization;

namespace Armor.Cli.Demo;

/// <summary>Prunes one model with every method and measures each result from its files.</summary>
internal sealed class DemoRunner(DemoSource source, IReadOnlyList<DemoMethod> methods, int calibrationSequences, int evaluationSequences)
{
    private const double EvaluationShare = 0.3; // of a method's time, for the progress bar only

    /// <summary>Runs every method; pruned models lie in a temporary folder and are deleted.</summary>
    internal async Task<DemoResult> RunAsync(IProgress<Step> progress, CancellationToken cancellationToken)
    {
        var watch = Stopwatch.StartNew();
        string[] calibration = [.. TextCorpus.SplitDocuments(TextOptions.ReadText(source.Calibration)).Take(calibrationSequences)];
        int[][] evaluation = ReadEvaluation();
        var rows = new List<DemoRow>();
        PerplexityResult? dense = null;
        string work = Directory.CreateTempSubdirectory("armor-demo-").FullName;
        try
        {
            foreach ((int index, DemoMethod method) in methods.Index())
            {
                var steps = new MethodSteps(progress, method.Name, index, methods.Count, watch);
                ModelPruningReport? report = null;
                string folder = source.Model;
                if (method.Options is not null)
                {
                    folder = Path.Combine(work, $"model-{index}");
                    var options = new ModelPrunerOptions { Pruner = method.Options, MaxSamples = calibrationSequences };
                    report = await ModelPruner.PruneAsync(
                        source.Model, folder, calibration, options, new PruningSteps(steps.Part(0, 1 - EvaluationShare)), cancellationToken).ConfigureAwait(false);
                }

                PerplexityResult result = await Task.Run(
                    () => Evaluate(folder, evaluation, steps.Part(1 - EvaluationShare, EvaluationShare), cancellationToken), cancellationToken).ConfigureAwait(false);
                dense ??= result;
                NllDifference difference = result.Minus(dense);
                rows.Add(new DemoRow(
                    method.Name,
                    report is null ? 1 : (double)report.Bytes / report.DenseBytes,
                    result.Perplexity,
                    difference.Delta,
                    difference.StandardError,
                    report?.Seconds ?? 0));
            }
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }

        return new DemoResult(rows, source, calibration.Length, evaluation.Length, dense!.Predictions, watch.Elapsed.TotalSeconds);
    }

    private static PerplexityResult Evaluate(string folder, int[][] sequences, IProgress<Step> steps, CancellationToken cancellationToken)
    {
        using CausalLanguageModel model = CausalLanguageModel.Load(folder);
        return new PerplexityEvaluator(model).Evaluate(sequences, new EvaluationSteps(steps), cancellationToken);
    }

    private int[][] ReadEvaluation()
    {
        ModelTokenizer tokenizer = ModelTokenizer.Load(source.Model);
        int context = Runtime.Models.ModelConfiguration.Load(source.Model).ContextLength;
        IReadOnlyList<string> documents = TextCorpus.SplitDocuments(TextOptions.ReadText(source.Evaluation));
        return [.. TextCorpus.TokenizeDocuments(documents, tokenizer, context).Take(evaluationSequences)];
    }

    /// <summary>Puts a part of one method's progress into the whole's.</summary>
    private sealed class MethodSteps(IProgress<Step> progress, string method, int index, int count, Stopwatch watch)
    {
        internal IProgress<Step> Part(double start, double share) => new PartSteps(value =>
            progress.Report(new Step((index + start + (share * value.Fraction)) / count, $"{method}: {value.Detail}", null)), watch);
    }

    private sealed class PartSteps(Action<Step> report, Stopwatch watch) : IProgress<Step>
    {
        public void Report(Step value) => report(value with { Detail = $"{value.Detail}, {Step.Format(watch.Elapsed)} so far" });
    }
}
