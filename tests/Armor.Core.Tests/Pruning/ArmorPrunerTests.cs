using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Wrappers;
using Armor.Runtime.Factorization;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

[TestFixture]
public sealed class ArmorPrunerTests
{
    private static readonly string[] Patterns = ["1:2", "1:4", "4:8", "6:8", "3:5", "2:12", "15:16"];

    private static readonly Gen<ArmorPrunerOptions> AnyOptions = Gen.Select(
        Gen.Enum<StageLoss>(), Gen.Enum<WrapperAlgorithm>(), Gen.Enum<CoreAlgorithm>(), Gen.Enum<WrapperSides>(), Gen.Int[1, 17], Gen.Int[0, 12], Gen.Bool, Gen.Bool,
        (loss, wrapper, core, sides, block, pattern, momentum, anneal) => new ArmorPrunerOptions
        {
            Pattern = pattern < Patterns.Length ? SparsityPattern.Parse(Patterns[pattern]) : default,
            WrapperAlgorithm = wrapper,
            CoreAlgorithm = core,
            Wrappers = sides,
            BlockSize = block,
            LearningRate = 1e-2,
            Stages =
            [
                new PruningStage { Loss = loss, AnnealingCycles = anneal ? 4 : 0, PolishCycles = 5, Momentum = momentum ? new MomentumOptions() : null },
            ],
        });

    [Test]
    public void Every_combination_ends_at_or_below_its_NoWag_P_start_on_any_input() =>
        Gen.Select(AnyOptions, Gen.Int[1, 24], Gen.Int[1, 10], Gen.Int[0, 6], Gen.Int).Sample((options, rows, groups, kind, seed) =>
        {
            using var scope = NewDisposeScope();
            (double[,] weight, double[,] h) = AwkwardInput.Create(kind, rows, options.Pattern.Group * groups, new Random(seed));
            using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(h), 100);
            PrunedWeight pruned = ArmorPruner.Create(options).Prune(Matrices.ToTensor(weight), statistics);
            Assert.That(pruned.Loss, Is.LessThanOrEqualTo(pruned.StartLoss), $"{options.Stages[0].Loss} {options.WrapperAlgorithm} {options.CoreAlgorithm}");
            Assert.That(pruned.Layer.ToDense().All(float.IsFinite), "finite");
            Assert.That(pruned.Layer.Core.Pattern, Is.EqualTo(options.Pattern));
        }, iter: 250);

    [Test]
    public void Momentum_does_not_see_how_scale_is_shared_between_the_factors()
    {
        // A and S of different scales extrapolated: over some hundred cycles A would lose its rank and S grow without bound.
        using var scope = NewDisposeScope();
        var random = new Random(11);
        Tensor weight = Matrices.ToTensor(Matrices.Random(random, 24, 32));
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 32)), 100);
        ArmorPrunerOptions options = ArmorPrunerOptions.Balanced with
        {
            BlockSize = 8,
            Stages = [new PruningStage { Loss = StageLoss.Diagonal, WarmUpCycles = 5, AnnealingCycles = 20, PolishCycles = 10 }],
        };
        float[][] layers = [.. new[] { 1f, 2f }.Select(scale => ArmorPruner
            .Create(options, new ArmorPrunerParts { WrapperOptimizer = () => new WanderingScale(scale) })
            .Prune(weight, statistics).Layer.ToDense())];
        Assert.That(layers[1], Is.EqualTo(layers[0]).Within(1e-5));
    }

    [TestCase(StageLoss.NormalizedDiagonal)]
    [TestCase(StageLoss.Diagonal)]
    [TestCase(StageLoss.FullHessian)]
    public void The_layer_has_the_loss_that_is_reported(StageLoss loss)
    {
        using var scope = NewDisposeScope();
        var random = new Random(5);
        double[,] weight = Matrices.Random(random, 24, 32);
        double[,] h = Matrices.SecondMoment(random, 32);
        double[] diagonal = [.. Enumerable.Range(0, 32).Select(i => h[i, i])];
        // A diagonal alone, so that no damping enters; or the whole H without damping.
        using ActivationStatistics statistics = loss == StageLoss.FullHessian
            ? ActivationStatistics.FromHessian(tensor(h), 100)
            : ActivationStatistics.FromDiagonal(diagonal, 100);
        ArmorPrunerOptions options = ArmorPrunerOptions.Balanced with
        {
            BlockSize = 8,
            HessianDamping = 0,
            Stages = [new PruningStage { Loss = loss, AnnealingCycles = 10, PolishCycles = 10 }],
        };
        PrunedWeight pruned = ArmorPruner.Create(options).Prune(Matrices.ToTensor(weight), statistics);
        double[,] error = Matrices.Minus(weight, Matrices.FromRows(pruned.Layer.ToDense(), 24, 32));
        double[,] measure = loss == StageLoss.FullHessian ? h : Matrices.Diagonal(diagonal);
        double[,] reference = weight;
        if (loss == StageLoss.NormalizedDiagonal)
        {
            (double[] columns, double[] rows) = Norms(weight);
            error = Scaled(error, columns, rows);
            reference = Scaled(weight, columns, rows);
        }

        double expected = Matrices.Loss(error, measure) / Matrices.Loss(reference, measure);
        Assert.That(pruned.Loss, Is.EqualTo(expected).Within(1e-4 * expected));
        Assert.That(pruned.Loss, Is.LessThan(0.75 * pruned.StartLoss));
    }

    [Test]
    public void Full_Hessian_stage_improves_the_output_error_over_the_diagonal_one()
    {
        using var scope = NewDisposeScope();
        var random = new Random(8);
        Tensor weight = Matrices.ToTensor(Matrices.Random(random, 32, 48));
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 48)), 100);
        PruningStage diagonal = new() { Loss = StageLoss.Diagonal, AnnealingCycles = 20, PolishCycles = 20 };
        PruningStage full = new() { Loss = StageLoss.FullHessian, PolishCycles = 20 };
        PrunedWeight both = Prune([diagonal, full]);
        PrunedWeight measured = Prune([diagonal, full with { PolishCycles = 1 }]);
        Assert.That(both.Loss, Is.LessThan(0.95 * measured.Loss));

        PrunedWeight Prune(PruningStage[] stages) =>
            ArmorPruner.Create(ArmorPrunerOptions.Balanced with { BlockSize = 8, Stages = stages }).Prune(weight, statistics);
    }

    [Test]
    public void Same_seed_same_factors_whatever_the_threads_and_another_seed_others()
    {
        using var scope = NewDisposeScope();
        var random = new Random(9);
        Tensor weight = Matrices.ToTensor(Matrices.Random(random, 64, 96));
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 96)), 100);
        ArmorPrunerOptions options = ArmorPrunerOptions.Fast with { BlockSize = 16 };
        float[] one = Prune(options with { MaxDegreeOfParallelism = 1 });
        Assert.That(Prune(options with { MaxDegreeOfParallelism = 4 }), Is.EqualTo(one));
        Assert.That(Prune(options with { Seed = 1 }), Is.Not.EqualTo(one));

        float[] Prune(ArmorPrunerOptions chosen) => ArmorPruner.Create(chosen).Prune(weight, statistics).Layer.ToDense();
    }

    [Test]
    public void Collections_on_another_thread_change_nothing()
    {
        // TorchSharp's temporary scalars may be freed in the middle of a native call; see TensorArithmetic.
        using var scope = NewDisposeScope();
        var random = new Random(12);
        Tensor weight = Matrices.ToTensor(Matrices.Random(random, 32, 32));
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 32)), 100);
        ArmorPruner pruner = ArmorPruner.Create(ArmorPrunerOptions.Fast with { BlockSize = 8 });
        float[] expected = pruner.Prune(weight, statistics).Layer.ToDense();
        using var done = new CancellationTokenSource();
        var collector = new Thread(() =>
        {
            while (!done.IsCancellationRequested)
            {
                GC.Collect(0);
                GC.WaitForPendingFinalizers();
            }
        });
        collector.Start();
        try
        {
            for (int run = 0; run < 60; run++)
            {
                Assert.That(pruner.Prune(weight, statistics).Layer.ToDense(), Is.EqualTo(expected));
            }
        }
        finally
        {
            done.Cancel();
            collector.Join();
        }
    }

    [Test]
    public void Plain_methods_give_a_core_without_wrappers(
        [Values(PruningMethod.Magnitude, PruningMethod.Wanda, PruningMethod.NoWagP, PruningMethod.SparseGpt, PruningMethod.Dense24)] PruningMethod method,
        [Values("2:4", "1:4", "4:5", "4:10")] string text)
    {
        SparsityPattern pattern = SparsityPattern.Parse(text);
        using var scope = NewDisposeScope();
        var random = new Random(10);
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(random, 20)), 100);
        PrunedWeight pruned = ArmorPruner.Create(ArmorPrunerOptions.Balanced with { Method = method, Pattern = pattern })
            .Prune(Matrices.ToTensor(Matrices.Random(random, 12, 20)), statistics);
        Assert.That(pruned.Layer.OutputWrapper, Is.Null);
        Assert.That(pruned.Layer.InputWrapper, Is.Null);
        Assert.That(pruned.Layer.Core.Pattern, Is.EqualTo(pattern));
        if (method is PruningMethod.SparseGpt or PruningMethod.Dense24)
        {
            Assert.That(pruned.Loss, Is.LessThan(pruned.StartLoss));
        }
    }

    [Test]
    public void Cross_target_aims_at_the_dense_outputs()
    {
        using var scope = NewDisposeScope();
        var random = new Random(11);
        double[,] weight = Matrices.Random(random, 16, 16);
        // x_d = M·x_p exactly, so W* is W·M, whatever H.
        double[,] h = Matrices.SecondMoment(random, 16);
        double[,] mix = Matrices.Random(random, 16, 16, 0.2);
        for (int i = 0; i < 16; i++)
        {
            mix[i, i] += 1;
        }

        Tensor? target = CrossTarget.Of(Matrices.ToTensor(weight), tensor(h), tensor(Matrices.Product(mix, h)), 0);
        double[,] expected = Matrices.Product(weight, mix);
        double[,] found = Matrices.FromTensor(target!);
        for (int i = 0; i < 16; i++)
        {
            for (int j = 0; j < 16; j++)
            {
                Assert.That(found[i, j], Is.EqualTo(expected[i, j]).Within(1e-4));
            }
        }
    }

    [Test]
    public void A_linear_that_writes_to_the_stream_makes_up_for_a_share_of_what_is_missing_there()
    {
        using var scope = NewDisposeScope();
        var random = new Random(12);
        double[,] weight = Matrices.Random(random, 8, 16);
        double[,] h = Matrices.SecondMoment(random, 16);

        // r_d − r_p = M·x_p exactly, and x_d = x_p: so W* is W + ρ·M.
        double[,] missing = Matrices.Random(random, 8, 16, 0.3);
        Tensor residual = Matrices.ToTensor(Matrices.Product(missing, h));
        Tensor? target = CrossTarget.Of(Matrices.ToTensor(weight), tensor(h), tensor(h), 0, residual, 0.5);
        double[,] found = Matrices.FromTensor(target!);
        for (int i = 0; i < 8; i++)
        {
            for (int j = 0; j < 16; j++)
            {
                Assert.That(found[i, j], Is.EqualTo(weight[i, j] + (0.5 * missing[i, j])).Within(1e-4));
            }
        }
    }

    [Test]
    public void Gradients_of_another_size_are_refused()
    {
        using ActivationStatistics statistics = Statistics(16);
        using Tensor weight = ones(8, 16);
        using Tensor moment = eye(9);
        using GradientStatistics gradients = GradientStatistics.FromMoment(moment, 1);
        Assert.That(
            () => ArmorPruner.Create(ArmorPrunerOptions.Fast).Prune(weight, statistics, "q_proj", gradients),
            Throws.ArgumentException.With.Message.Contains("q_proj").And.Message.Contains("dimension 8").And.Message.Contains("found 9"));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void Pruning_leaves_no_tensors_behind(bool weighted)
    {
        using ActivationStatistics statistics = Statistics(16);
        using Tensor weight = Matrices.ToTensor(Matrices.Random(new Random(1), 16, 16));
        using Tensor moment = Matrices.ToTensor(Matrices.SecondMoment(new Random(2), 16));
        using GradientStatistics? gradients = weighted ? GradientStatistics.FromMoment(moment, 1) : null;
        ArmorPruner pruner = ArmorPruner.Create(ArmorPrunerOptions.Fast with { BlockSize = 4 });
        pruner.Prune(weight, statistics, gradients: gradients);

        // What other tests left to the collector must not go during the count.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        long before = Tensor.TotalCount;
        pruner.Prune(weight, statistics, gradients: gradients);
        Assert.That(Tensor.TotalCount, Is.EqualTo(before));
    }

    [Test]
    public void Cancellation_is_obeyed()
    {
        using ActivationStatistics statistics = Statistics(16);
        using Tensor weight = Matrices.ToTensor(Matrices.Random(new Random(1), 16, 16));
        using var source = new CancellationTokenSource();
        var progress = new CancelAt(source, 3);
        Assert.That(
            () => ArmorPruner.Create(ArmorPrunerOptions.Fast).Prune(weight, statistics, "w", null, progress, source.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(progress.Reports, Is.EqualTo(3));
    }

    [Test]
    public void Bad_input_is_named()
    {
        using ActivationStatistics statistics = Statistics(16);
        ArmorPruner pruner = ArmorPruner.Create(ArmorPrunerOptions.Fast);
        using Tensor odd = ones(4, 18);
        Assert.That(() => pruner.Prune(odd, statistics, "q_proj"), Throws.ArgumentException.With.Message.Contains("q_proj").And.Message.Contains("[4, 18]"));
        using Tensor other = ones(4, 20);
        Assert.That(() => pruner.Prune(other, statistics, "q_proj"), Throws.ArgumentException.With.Message.Contains("dimension 20").And.Message.Contains("found 16"));
        using Tensor bad = ones(4, 16);
        bad[1, 1] = float.NaN;
        Assert.That(() => pruner.Prune(bad, statistics, "q_proj"), Throws.ArgumentException.With.Message.Contains("q_proj").And.Message.Contains("found 1"));
    }

    [Test]
    public void Patterns_of_too_many_masks_are_refused_where_all_are_tried()
    {
        ArmorPrunerOptions options = ArmorPrunerOptions.Balanced with { Pattern = new SparsityPattern(8, 16) };
        Assert.That(() => ArmorPruner.Create(options), Throws.ArgumentException.With.Message.Contains("8:16 has 12870"));
        Assert.That(() => ArmorPruner.Create(options with { Method = PruningMethod.Wanda }), Throws.Nothing);
    }

    [Test]
    public void Invalid_options_are_listed_all_at_once()
    {
        ArmorPrunerOptions options = ArmorPrunerOptions.Balanced with { BlockSize = 0, StorageBudget = -1, HessianDamping = 2, Stages = [] };
        Assert.That(
            () => ArmorPruner.Create(options),
            Throws.ArgumentException.With.Message.Contains("BlockSize").And.Message.Contains("StorageBudget").And.Message.Contains("HessianDamping")
                .And.Message.Contains("Stages"));
    }

    private static ActivationStatistics Statistics(int dimension)
    {
        using var scope = NewDisposeScope();
        return ActivationStatistics.FromHessian(tensor(Matrices.SecondMoment(new Random(2), dimension)), 100);
    }

    private static (double[] Columns, double[] Rows) Norms(double[,] weight)
    {
        double[] columns = new double[weight.GetLength(1)];
        double[] rows = new double[weight.GetLength(0)];
        foreach ((int i, int j) in Indices(weight))
        {
            columns[j] += weight[i, j] * weight[i, j];
        }

        foreach ((int i, int j) in Indices(weight))
        {
            rows[i] += weight[i, j] * weight[i, j] / columns[j];
        }

        return ([.. columns.Select(Math.Sqrt)], [.. rows.Select(Math.Sqrt)]);
    }

    private static double[,] Scaled(double[,] a, double[] columns, double[] rows)
    {
        double[,] result = (double[,])a.Clone();
        foreach ((int i, int j) in Indices(a))
        {
            result[i, j] /= columns[j] * rows[i];
        }

        return result;
    }

    private static IEnumerable<(int Row, int Column)> Indices(double[,] a) =>
        from i in Enumerable.Range(0, a.GetLength(0)) from j in Enumerable.Range(0, a.GetLength(1)) select (i, j);

    private sealed class CancelAt(CancellationTokenSource source, int cycle) : IProgress<PruningProgress>
    {
        public int Reports { get; private set; }

        public void Report(PruningProgress value)
        {
            if (++Reports == cycle)
            {
                source.Cancel();
            }
        }
    }

    private sealed class WanderingScale(float scale) : IWrapperOptimizer
    {
        private readonly LeastSquaresWrappers wrappers = new();

        public void Step(ArmorFactorization factorization, StepContext context)
        {
            wrappers.Step(factorization, context);
            factorization.OutputBlocks = factorization.OutputBlocks!.Over(scale);
            factorization.Core = factorization.Core.Times(scale);
        }
    }
}
