using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

[TestFixture]
public sealed class ArmorPrunerDeviceTests
{
    private static readonly ArmorPrunerOptions Polishing = ArmorPrunerOptions.Balanced with
    {
        BlockSize = 8,
        Stages =
        [
            new PruningStage { Loss = StageLoss.Diagonal, PolishCycles = 6 },
            new PruningStage { Loss = StageLoss.BlockDiagonal, PolishCycles = 3 },
            new PruningStage { Loss = StageLoss.FullHessian, PolishCycles = 6 },
        ],
    };

    private static readonly ArmorPrunerOptions Annealing = Polishing with
    {
        Stages =
        [
            new PruningStage { Loss = StageLoss.NormalizedDiagonal, AnnealingCycles = 8, PolishCycles = 2 },
            new PruningStage { Loss = StageLoss.FullHessian, AnnealingCycles = 4, PolishCycles = 2 },
        ],
    };

    [Test]
    public void Tensor_operations_end_where_the_kernels_do([Values] bool weighted, [Values] WrapperSides sides)
    {
        using var problem = new Problem();
        ArmorPrunerOptions options = Polishing with { Wrappers = sides };
        PrunedWeight kernels = problem.Prune(ArmorPruner.Create(options), CPU, weighted);
        PrunedWeight tensors = problem.Prune(ArmorPruner.CreateBatched(options), CPU, weighted);
        Assert.Multiple(() =>
        {
            Assert.That(tensors.Loss, Is.EqualTo(kernels.Loss).Within(0.02 * kernels.Loss));
            Assert.That(tensors.Loss, Is.LessThan(0.5 * tensors.StartLoss));
            Assert.That(tensors.Notes, Is.Empty);
        });
    }

    [Test]
    public void Under_noise_tensor_operations_end_near_the_kernels([Values] bool weighted)
    {
        using var problem = new Problem();
        PrunedWeight kernels = problem.Prune(ArmorPruner.Create(Annealing), CPU, weighted);
        PrunedWeight tensors = problem.Prune(ArmorPruner.CreateBatched(Annealing), CPU, weighted);
        Assert.That(tensors.Loss, Is.EqualTo(kernels.Loss).Within(0.15 * kernels.Loss));
    }

    [Test]
    public void A_weight_on_a_CUDA_device_is_pruned_there([Values] bool weighted)
    {
        Device device = Cuda();
        using var problem = new Problem();
        PrunedWeight expected = problem.Prune(ArmorPruner.Create(Polishing), CPU, weighted);
        PrunedWeight found = problem.Prune(ArmorPruner.Create(Polishing), device, weighted);
        Assert.Multiple(() =>
        {
            Assert.That(found.Loss, Is.EqualTo(expected.Loss).Within(0.05 * expected.Loss));
            Assert.That(found.Notes, Is.Empty);
        });
    }

    [Test]
    public void What_a_CUDA_device_does_not_know_is_done_on_the_CPU_and_noted()
    {
        Device device = Cuda();
        using var problem = new Problem();
        ArmorPrunerOptions options = Polishing with { Pattern = new SparsityPattern(1, 4) };
        PrunedWeight expected = problem.Prune(ArmorPruner.Create(options), CPU, true);
        PrunedWeight found = problem.Prune(ArmorPruner.Create(options), device, true);
        Assert.Multiple(() =>
        {
            Assert.That(found.Loss, Is.EqualTo(expected.Loss));
            Assert.That(found.Notes, Has.One.Contains("CPU"));
        });
    }

    private static Device Cuda()
    {
        if (!cuda.is_available())
        {
            Assert.Ignore("There is no CUDA device.");
        }

        return device("cuda:0");
    }

    // Several blocks of A and B, and strips of both.
    private sealed class Problem : IDisposable
    {
        private readonly Tensor weight;
        private readonly ActivationStatistics statistics;
        private readonly GradientStatistics gradients;

        public Problem()
        {
            var random = new Random(31);
            weight = Matrices.ToTensor(Matrices.Random(random, 48, 144));
            statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 144)), 1000);
            gradients = GradientStatistics.FromMoment(tensor(Matrices.SecondMoment(random, 48)), 1000);
        }

        // The statistics stay where they are.
        public PrunedWeight Prune(ArmorPruner pruner, Device device, bool weighted)
        {
            using Tensor own = weight.to(device);
            return pruner.Prune(own, statistics, gradients: weighted ? gradients : null);
        }

        public void Dispose()
        {
            weight.Dispose();
            statistics.Dispose();
            gradients.Dispose();
        }
    }
}
