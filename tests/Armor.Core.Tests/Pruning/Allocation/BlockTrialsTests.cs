using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Allocation;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Allocation;

[TestFixture]
public sealed class BlockTrialsTests
{
    private static readonly ArmorPrunerOptions Options = ArmorPrunerOptions.Fast with { BlockSize = 8, MaxDegreeOfParallelism = 1 };

    [Test]
    public void Choices_are_half_the_same_and_twice_the_size_and_one_sided()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Choices(WrapperSides.Both, 64, 96), Is.EqualTo(new[] { "8,8", "4,4", "16,16", "8,1", "16,1", "1,16" }));
            Assert.That(Choices(WrapperSides.Input, 64, 96), Is.EqualTo(new[] { "1,8", "1,4", "1,16" }));
            Assert.That(Choices(WrapperSides.Output, 64, 96), Is.EqualTo(new[] { "8,1", "4,1", "16,1" }));
            Assert.That(Choices(WrapperSides.Both, 64, 172), Is.EqualTo(new[] { "8,4", "4,4", "16,4", "8,1", "16,1", "1,4" }), "172 = 4·43");
            Assert.That(Choices(WrapperSides.Both, 7, 4), Is.EqualTo(new[] { "7,4", "1,4", "7,1" }), "each size once");
        });
        Assert.That(BlockTrials.Choices(Options with { BlockSize = null, StorageBudget = 0 }, 64, 64), Is.EqualTo(new[] { default(BlockSizes) }), "no wrappers, no choice");

        string[] Choices(WrapperSides sides, int rows, int columns) =>
            [.. BlockTrials.Choices(Options with { Wrappers = sides }, rows, columns).Select(blocks => $"{blocks.Output ?? 1},{blocks.Input ?? 1}")];
    }

    [Test]
    public void A_trial_tells_half_the_weighted_error_in_float64()
    {
        using var scope = NewDisposeScope();
        var random = new Random(3);
        double[,] w = Matrices.Random(random, 16, 24);
        double[,] h = Matrices.SecondMoment(random, 24);
        double[,] g = Scaled(Matrices.SecondMoment(random, 16), 1e-4);
        Tensor weight = Matrices.ToTensor(w);
        using var statistics = ActivationStatistics.FromHessian(Matrices.ToTensor(h).to(float64), 1000);
        using var gradients = GradientStatistics.FromMoment(Matrices.ToTensor(g), 1000);
        IReadOnlyList<BlockTrial> trials = BlockTrials.Run(Options, "weight", weight, statistics, gradients, default);
        Assert.That(trials.Select(trial => trial.Blocks), Is.EqualTo(BlockTrials.Choices(Options, 16, 24)));

        double[,] damped = Damped(h, Options.HessianDamping);
        double[,] outputs = Damped(g, Options.GradientDamping);
        foreach (BlockTrial trial in trials)
        {
            PrunedWeight pruned = ArmorPruner.Create(BlockTrials.Brief(Options)).Prune(weight, statistics, "weight", gradients, trial.Blocks);
            float[] product = pruned.Layer.ToDense();
            double[,] error = new double[16, 24];
            for (int i = 0; i < 16; i++)
            {
                for (int j = 0; j < 24; j++)
                {
                    error[i, j] = w[i, j] - product[(i * 24) + j];
                }
            }

            double[,] weighted = Matrices.Product(Matrices.Product(outputs, error), damped);
            double expected = 0;
            for (int i = 0; i < 16; i++)
            {
                for (int j = 0; j < 24; j++)
                {
                    expected += 0.5 * weighted[i, j] * error[i, j];
                }
            }

            Assert.That(trial.Loss, Is.EqualTo(expected).Within(1e-3 * expected), trial.Blocks.ToString());
        }

        Assert.That(trials[2].Loss, Is.LessThan(trials[0].Loss), "twice the size");
        Assert.That(trials[1].Loss, Is.GreaterThan(trials[0].Loss), "half the size");
    }

    [Test]
    public void Outputs_without_any_gradient_lose_nothing()
    {
        using var scope = NewDisposeScope();
        var random = new Random(3);
        using var statistics = ActivationStatistics.FromHessian(Matrices.ToTensor(Matrices.SecondMoment(random, 24)).to(float64), 1000);
        using var gradients = GradientStatistics.FromMoment(zeros(16, 16), 1000);
        IReadOnlyList<BlockTrial> trials =
            BlockTrials.Run(Options, "weight", Matrices.ToTensor(Matrices.Random(random, 16, 24)), statistics, gradients, default);
        Assert.That(trials.Select(trial => trial.Loss), Is.All.Zero);
    }

    private static double[,] Scaled(double[,] matrix, double factor)
    {
        double[,] scaled = (double[,])matrix.Clone();
        for (int i = 0; i < scaled.GetLength(0); i++)
        {
            for (int j = 0; j < scaled.GetLength(1); j++)
            {
                scaled[i, j] *= factor;
            }
        }

        return scaled;
    }

    private static double[,] Damped(double[,] matrix, double damping)
    {
        int size = matrix.GetLength(0);
        double mean = Enumerable.Range(0, size).Average(i => matrix[i, i]);
        double[,] damped = (double[,])matrix.Clone();
        for (int i = 0; i < size; i++)
        {
            damped[i, i] += damping * mean;
        }

        return damped;
    }
}
