using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Onnx.Export;
using Armor.Onnx.Running;
using Armor.Runtime.Tokenization;

namespace Armor.Onnx.Tests;

/// <summary>The embedded model, pruned and exported: what ONNX Runtime computes is what the checkpoint says.</summary>
public sealed class EmbeddedModelTests
{
    private const int Sequences = 12;

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

        ModelTokenizer tokenizer = ModelTokenizer.Load(model);
        int[][] sequences =
        [
            .. TextCorpus.SplitDocuments(File.ReadAllText(Path.Combine(model, "evaluation.txt")), TextCorpus.DefaultSeparator, 200).Take(Sequences)
                .Select(text => tokenizer.Encode(text, addBeginOfSequence: true).Take(200).ToArray()),
        ];
        using CausalLanguageModel source = CausalLanguageModel.Load(folder.File("pruned"));
        double expected = new PerplexityEvaluator(source).Evaluate(sequences).Perplexity;
        double found = Math.Exp(NegativeLogLikelihood(folder.File("onnx/model.onnx"), sequences));
        Assert.That(found, Is.EqualTo(expected).Within(0.1).Percent);
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
