using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Onnx.Calibration;
using Armor.Onnx.Export;
using Armor.Onnx.Pruning;
using Armor.Onnx.Running;
using Armor.Runtime.Tokenization;

namespace Armor.Onnx.Tests;

/// <summary>The embedded model, pruned and exported: what ONNX Runtime computes is what the checkpoint says.</summary>
public sealed class EmbeddedModelTests
{
    private const int Sequences = 6;

    // Enough for factors of every kind; quality is not at stake here.
    private static readonly ArmorPrunerOptions Quick = ArmorPrunerOptions.Fast with
    {
        Stages = [new PruningStage { Loss = StageLoss.Diagonal, PolishCycles = 3 }],
        GradientWeighting = false,
    };

    [Test]
    public async Task PerplexityOfThePrunedModelAsOnnxIsThatOfTheCheckpoint()
    {
        using var folder = new TemporaryFolder();
        string model = RepositoryFolder.Path("assets/armor-tiny");
        string[] calibration = [.. TextCorpus.SplitDocuments(File.ReadAllText(Path.Combine(model, "calibration.txt")), TextCorpus.DefaultSeparator, 200).Take(4)];
        await ModelPruner.PruneAsync(model, folder.File("pruned"), calibration, new ModelPrunerOptions { Pruner = Quick });
        await OnnxExporter.ExportAsync(folder.File("pruned"), folder.File("onnx"));

        int[][] sequences = Evaluation(model, Sequences);
        using CausalLanguageModel source = CausalLanguageModel.Load(folder.File("pruned"));
        double expected = new PerplexityEvaluator(source).Evaluate(sequences).Perplexity;
        double found = Math.Exp(NegativeLogLikelihood(folder.File("onnx/model.onnx"), sequences));
        Assert.That(found, Is.EqualTo(expected).Within(0.1).Percent);
    }

    /// <summary>The numbers of docs/onnx.md; takes minutes.</summary>
    [Test]
    [Explicit("Makes the numbers of docs/onnx.md; takes minutes.")]
    public async Task WhatPruningOnnxCosts()
    {
        using var folder = new TemporaryFolder();
        string model = RepositoryFolder.Path("assets/armor-tiny");
        string[] calibration = [.. TextCorpus.SplitDocuments(File.ReadAllText(Path.Combine(model, "calibration.txt")), TextCorpus.DefaultSeparator, 0).Take(24)];
        int[][] sequences = Evaluation(model, 60);
        await OnnxExporter.ExportAsync(model, folder.File("onnx"), new OnnxExportOptions { Verify = false });
        string onnx = folder.File("onnx/model.onnx");
        await TellAsync("dense", onnx, 0);
        foreach ((string name, ArmorPrunerOptions options, CalibrationMode mode) in new[]
        {
            ("magnitude", ArmorPrunerOptions.Fast with { Method = PruningMethod.Magnitude }, CalibrationMode.Dense),
            ("armor fast, dense", ArmorPrunerOptions.Fast, CalibrationMode.Dense),
            ("armor fast, sequential", ArmorPrunerOptions.Fast, CalibrationMode.Sequential),
        })
        {
            string pruned = folder.File(name + ".onnx");
            OnnxPruningReport report = await OnnxPruner.PruneAsync(
                onnx, pruned, OnnxCalibration.FromTexts(onnx, model, calibration), new OnnxPrunerOptions { Pruner = options, Calibration = mode });
            await TellAsync(name, pruned, report.Seconds);
        }

        // Without what the walk over a checkpoint has beyond a graph: gradients, the order of channels, block sizes by trial.
        var alike = new ModelPrunerOptions
        {
            Pruner = ArmorPrunerOptions.Fast with { GradientWeighting = false, OrderChannels = false }, AllocateBlocks = false,
        };
        ModelPruningReport checkpoint = await ModelPruner.PruneAsync(model, folder.File("checkpoint"), calibration, alike);
        await OnnxExporter.ExportAsync(folder.File("checkpoint"), folder.File("exported"));
        await TellAsync("checkpoint", folder.File("exported/model.onnx"), checkpoint.Seconds);

        Task TellAsync(string name, string decoder, double seconds) =>
            TestContext.Progress.WriteLineAsync($"{name}: {Math.Exp(NegativeLogLikelihood(decoder, sequences)):0.000} in {seconds:0} s");
    }

    private static int[][] Evaluation(string model, int count)
    {
        ModelTokenizer tokenizer = ModelTokenizer.Load(model);
        return
        [
            .. TextCorpus.SplitDocuments(File.ReadAllText(Path.Combine(model, "evaluation.txt")), TextCorpus.DefaultSeparator, 200).Take(count)
                .Select(text => tokenizer.Encode(text, addBeginOfSequence: true).Take(200).ToArray()),
        ];
    }

    internal static double NegativeLogLikelihood(string decoder, int[][] sequences)
    {
        using var session = new DecoderSession(decoder, new OnnxRuntimeOptions());
        double sum = 0;
        foreach (int[] sequence in sequences)
        {
            var row = new long[1, sequence.Length];
            for (int i = 0; i < sequence.Length; i++)
            {
                row[0, i] = sequence[i];
            }

            session.Forget();
            float[] logits = session.Append(row);
            int vocabulary = logits.Length / sequence.Length;
            for (int i = 1; i < sequence.Length; i++)
            {
                float[] before = logits[((i - 1) * vocabulary)..(i * vocabulary)];
                double largest = before.Max();
                sum += largest + Math.Log(before.Sum(logit => Math.Exp(logit - largest))) - before[sequence[i]];
            }
        }

        return sum / sequences.Sum(sequence => sequence.Length - 1);
    }
}
