using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.PublicApi.Tests;

/// <summary>A whole model from outside: make or load one, prune it, load the result, measure it.</summary>
public class WholeModelTests
{
    private const string Configuration = """
        {
          "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "vocab_size": 50, "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2
        }
        """;

    [Test]
    public async Task PruneLoadAndMeasure()
    {
        using var folder = new TemporaryFolder();
        string dense = folder.File("dense");
        using (var model = new CausalLanguageModel(ModelConfiguration.Parse(Configuration, "test"), seed: 5))
        {
            model.Save(dense);
        }

        var random = new Random(6);
        int[][] sequences = [.. Enumerable.Range(0, 16).Select(_ => Enumerable.Range(0, 31).Select(place => place == 0 ? 1 : random.Next(3, 50)).ToArray())];
        var options = new ModelPrunerOptions { Pruner = ArmorPrunerOptions.Fast with { BlockSize = 8 } };
        ModelPruningReport report = await ModelPruner.PruneTokensAsync(dense, folder.File("pruned"), sequences, options);

        Assert.That(report.Linears, Has.Count.EqualTo(14));
        Assert.That(report.Linears.Select(linear => linear.Loss / linear.StartLoss), Is.All.LessThan(1));
        using ArmorCheckpoint checkpoint = ArmorCheckpoint.Open(folder.File("pruned"));
        Assert.That(
            report.Linears.Select(linear => (checkpoint.ReadLayer(linear.Name).OutputWrapper?.BlockSize ?? 1, checkpoint.ReadLayer(linear.Name).InputWrapper?.BlockSize ?? 1)),
            Is.EqualTo(report.Linears.Select(linear => (linear.OutputBlock, linear.InputBlock))));
        using CausalLanguageModel pruned = CausalLanguageModel.Load(folder.File("pruned"));
        Assert.That(new PerplexityEvaluator(pruned).Evaluate(sequences).Perplexity, Is.InRange(10, 100));
    }
}
