using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Pruning;

/// <summary>Real models, from folder to perplexity.</summary>
[Category("SharedData")]
public class ModelPrunerSharedDataTests
{
    private const int EvaluationSequences = 60;

    [Test]
    public async Task TheFastPresetKeepsAStoryModelNearItsDensePerplexity()
    {
        ArmorPrunerOptions fast = ArmorPrunerOptions.Fast with { BlockSize = 8 };
        using var folder = new TemporaryFolder();
        string output = folder.File("out");
        (PerplexityResult result, ModelPruningReport report) = await PruneAndEvaluate("babyllama361", output, new ModelPrunerOptions { Pruner = fast });

        // Dense 1.746; the best 2:4 weight without wrappers is above 2.2 (SparseGPT 3.0).
        Assert.That(result.Perplexity, Is.LessThan(1.86));
        double wrappers = report.Linears.Sum(linear => ((long)linear.Rows * Values(linear.OutputBlock)) + ((long)linear.Columns * Values(linear.InputBlock)))
            / (double)report.Linears.Sum(linear => (long)linear.Rows * linear.Columns);
        Assert.That(report.Bytes, Is.EqualTo((0.5625 + wrappers) * report.DenseBytes).Within(1e-9 * report.DenseBytes));
        Assert.That(wrappers, Is.LessThanOrEqualTo(0.1014), "blocks of 8 everywhere");
        Assert.That(report.Linears.SelectMany(linear => linear.Notes), Is.Empty);
        static int Values(int block) => block == 1 ? 0 : block;

        // 8 bits for the same cores.
        using (CheckpointFolder dense = CheckpointFolder.Open(SharedData.Path("models/babyllama361")))
        using (ArmorCheckpoint pruned = ArmorCheckpoint.Open(output))
        {
            ArmorCheckpointWriter.Write(
                dense, folder.File("int8"), pruned.PrunedLinears, pruned.ElementType, pruned.ReadLayer, coreType: TensorElementType.Int8);
        }

        NllDifference difference = Evaluate(folder.File("int8")).Minus(result);
        await TestContext.Out.WriteLineAsync($"8 bits: {difference.Delta:f5} ± {difference.StandardError:f5}");
        Assert.That(difference.Delta, Is.LessThan(0.003).And.Not.Zero);
    }

    // Perplexities of independent implementations on the same texts.
    [TestCase(PruningMethod.Magnitude, CalibrationMode.Dense, 15.01)]
    [TestCase(PruningMethod.Wanda, CalibrationMode.Dense, 12.61)]
    [TestCase(PruningMethod.NoWagP, CalibrationMode.Dense, 12.38)]
    public async Task BaselinesReachTheirKnownPerplexity(PruningMethod method, CalibrationMode mode, double expected)
    {
        var options = new ModelPrunerOptions { Pruner = new ArmorPrunerOptions { Method = method }, Calibration = mode };
        using var folder = new TemporaryFolder();
        (PerplexityResult result, _) = await PruneAndEvaluate("babyllama361", folder.File("out"), options);
        Assert.That(result.Perplexity, Is.EqualTo(expected).Within(3).Percent);
    }

    private static async Task<(PerplexityResult Result, ModelPruningReport Report)> PruneAndEvaluate(string name, string output, ModelPrunerOptions options)
    {
        string model = SharedData.Path("models/" + name);
        string text = SharedData.Path("text/eval");
        string[] calibration = [.. Documents(Path.Combine(text, "tinystories-calibration.txt")).Where(story => story.All(char.IsAscii))];
        ModelPruningReport report = await ModelPruner.PruneAsync(model, output, calibration, options);

        PerplexityResult result = Evaluate(output);
        await TestContext.Out.WriteLineAsync(
            $"{name} {options.Pruner.Method} {options.Pruner.Preset} {options.Calibration}: perplexity {result.Perplexity:f4}, {report.Seconds:f1} s, "
            + $"{(double)report.Bytes / report.DenseBytes:f4} of dense");
        return (result, report);
    }

    private static PerplexityResult Evaluate(string folder)
    {
        using CausalLanguageModel pruned = CausalLanguageModel.Load(folder);
        IEnumerable<int[]> sequences = TextCorpus.TokenizeDocuments(
            Documents(SharedData.Path("text/eval/tinystories-eval.txt")), ModelTokenizer.Load(folder), pruned.Configuration.ContextLength);
        return new PerplexityEvaluator(pruned).Evaluate([.. sequences.Take(EvaluationSequences)]);
    }

    private static IReadOnlyList<string> Documents(string path) => TextCorpus.SplitDocuments(File.ReadAllText(path), minimumLength: 200);
}
