using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Families;

/// <summary>Recovery where gradients go through experts, soft caps, windows and the norms of Gemma.</summary>
public sealed class FamilyRecoveryTests
{
    private static readonly RecoveryOptions Quick = new()
    {
        LayerwiseSteps = 6,
        Steps = 6,
        EvaluationSteps = 3,
        WarmUpSteps = 2,
        SequencesPerStep = 4,
        HeldOutSequences = 6,
        TokensPerBatch = 100,
        LayerwiseLearningRate = 0.01,
        LearningRate = 0.003,
    };

    private static readonly IEnumerable<string> Families = FamilyCheckpoint.Names;

    private TemporaryFolder folder = null!;
    private string dense = null!;

    [SetUp]
    public void CreateFolder()
    {
        folder = new TemporaryFolder();
        dense = folder.File("dense");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task TheHeldOutKlFallsInBothPhases([ValueSource(nameof(Families))] string family)
    {
        FamilyCheckpoint.Write(family, dense);
        await ModelPruner.PruneTokensAsync(dense, folder.File("pruned"), FamilyCheckpoint.Sequences(8), FamilyCheckpoint.Quick);
        RecoveryReport report = await ModelRecovery.RecoverTokensAsync(folder.File("pruned"), dense, folder.File("recovered"), FamilyCheckpoint.Sequences(24), Quick);
        foreach (RecoveryPhaseReport phase in report.Phases)
        {
            Assert.That(phase.KlAfter, Is.LessThan(phase.KlBefore), phase.ToString());
        }

        using ArmorCheckpoint recovered = ArmorCheckpoint.Open(folder.File("recovered"));
        CheckpointVerification.Verify(recovered);
    }

    [Test]
    public void GradientsAreTheSlopes([ValueSource(nameof(Families))] string family)
    {
        FamilyCheckpoint.Write(family, dense);
        using var scope = NewDisposeScope();
        using CausalLanguageModel model = CausalLanguageModel.Load(dense);
        Tensor tokens = tensor(Array.ConvertAll(FamilyCheckpoint.Tokens(24, seed: 5), token => (long)token), [2, 12]);
        Tensor direction = randn(model.Embed(tokens).shape, generator: new Generator(7));
        Dictionary<string, Tensor> gradients = Gradients(model, tokens, direction, recompute: false);
        Dictionary<string, Tensor> recomputed = Gradients(model, tokens, direction, recompute: true);
        using var withoutGradients = no_grad();

        // Linears with a gradient: a router, say, also lies among the weights.
        Assert.That(recomputed.Keys, Is.SupersetOf(ModelShapes.LinearNames(model.Configuration).Select(name => name + ".weight").Where(gradients.ContainsKey)));
        foreach ((string name, Tensor gradient) in recomputed)
        {
            Assert.That(Norm(gradient - gradients[name]), Is.LessThan(1e-4 * Norm(gradient)), name);
        }

        foreach ((string name, Tensor gradient) in gradients.Where(pair => Norm(pair.Value) > 0))
        {
            // Along the gradient the slope is its norm, which no error in some of its values leaves as it is. Small steps: one that changed an expert's
            // choice would cross a jump.
            double norm = Norm(gradient);
            double step = Math.Min(0.02 / (norm * norm), 2e-3 / norm);
            Tensor weight = model.Weights[name];
            Tensor kept = weight.clone();
            double Along(double factor)
            {
                using var inner = NewDisposeScope();
                weight.copy_(kept.Plus(gradient.Times(factor)));
                return (new LayerStack(model, tokens, recompute: false, CancellationToken.None).Hidden.to(float64) * direction).sum().ToNumber();
            }

            double slope = (Along(step) - Along(-step)) / (2 * step);
            weight.copy_(kept);
            Assert.That(slope, Is.EqualTo(norm * norm).Within(0.02 * norm * norm), name);
        }
    }

    private static Dictionary<string, Tensor> Gradients(CausalLanguageModel model, Tensor tokens, Tensor direction, bool recompute)
    {
        model.RequireGradients(true);
        new LayerStack(model, tokens, recompute, CancellationToken.None).Backward(direction, CancellationToken.None);
        var gradients = model.Weights.Where(pair => pair.Value.grad is not null).ToDictionary(pair => pair.Key, pair => pair.Value.grad!.clone());
        foreach (Tensor weight in model.Weights.Values)
        {
            weight.grad = null;
        }

        return gradients;
    }

    private static double Norm(Tensor values) => Math.Sqrt(values.to(float64).Squared().sum().ToNumber());
}
