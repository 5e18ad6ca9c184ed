using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.SparseCores;

[TestFixture]
public sealed class ExactSweepTests
{
    // b_A, blocks of A, b_B, blocks of B: every vector width, tails of each, panels that are not full, and no wrapper at all.
    private static readonly int[][] Shapes =
    [
        [1, 5, 4, 3], [3, 2, 8, 2], [4, 3, 12, 2], [5, 2, 16, 1], [8, 2, 16, 2], [8, 3, 20, 2], [9, 1, 28, 1], [16, 2, 32, 2], [43, 2, 4, 11],
        [24, 1, 44, 1], [0, 6, 8, 3], [8, 2, 0, 8], [0, 7, 0, 36], [1, 19, 8, 1], [2, 18, 4, 2], [4, 17, 16, 1], [3, 33, 4, 2], [0, 40, 8, 2],
    ];

    private static readonly int[] LaneCounts = [4, 8, 16];

    [TestCaseSource(nameof(Shapes))]
    public void Sweep_equals_the_reference_under_a_diagonal_loss(int outputBlock, int outputs, int inputBlock, int inputs)
    {
        var random = new Random(17);
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, inputBlock, inputs);
        double[] h = [.. Enumerable.Range(0, problem.Columns).Select(_ => (double)(float)(0.2 + random.NextDouble()))];
        using var loss = new DiagonalLoss(tensor(h));
        AssertSweepEqualsReference(problem, loss, Matrices.Diagonal(h));
    }

    [TestCaseSource(nameof(Shapes))]
    public void Sweep_equals_the_reference_under_a_full_Hessian(int outputBlock, int outputs, int inputBlock, int inputs)
    {
        var random = new Random(18);
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, inputBlock, inputs);
        double[,] h = Matrices.SecondMoment(random, problem.Columns);
        using var loss = new FullHessianLoss(tensor(h), 0);
        AssertSweepEqualsReference(problem, loss, h);
    }

    [Test]
    public void Result_does_not_depend_on_the_number_of_threads()
    {
        using var scope = NewDisposeScope();
        var random = new Random(3);
        SweepProblem problem = SweepProblem.Create(random, 16, 12, 16, 16);
        using var loss = new DiagonalLoss(ones(problem.Columns));
        Tensor one = Sweep(problem, loss, 1);
        foreach (int threads in new[] { 2, 3, 8 })
        {
            Assert.That(Sweep(problem, loss, threads).equal(one).all().IsTrue(), $"{threads} threads");
        }

        static Tensor Sweep(SweepProblem problem, IProxyLoss loss, int threads)
        {
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep().Step(factorization, new StepContext(problem.Target, loss)
            {
                Seed = 5,
                MaxDegreeOfParallelism = threads,
                Noise = new AnnealingNoise(0.4f, 0.5f),
            });
            return factorization.Core.clone();
        }
    }

    [TestCaseSource(nameof(Shapes))]
    public void Sweep_equals_the_reference_under_a_block_diagonal_Hessian(int outputBlock, int outputs, int inputBlock, int inputs)
    {
        var random = new Random(19);
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, inputBlock, inputs);
        double[,] h = Matrices.SecondMoment(random, problem.Columns);
        int block = Math.Max(4, inputBlock);
        using var loss = new BlockDiagonalLoss(tensor(h), block, 0);
        for (int i = 0; i < problem.Columns; i++)
        {
            for (int j = 0; j < problem.Columns; j++)
            {
                h[i, j] = i / block == j / block ? h[i, j] : 0;
            }
        }

        AssertSweepEqualsReference(problem, loss, h);
    }

    [Test]
    public void Tensor_operations_obey_the_seed_and_leave_no_tensors_behind([Values] bool full)
    {
        using var scope = NewDisposeScope();
        var random = new Random(9);
        SweepProblem problem = SweepProblem.Create(random, 4, 3, 8, 3);
        using var diagonal = new DiagonalLoss(ones(problem.Columns));
        using var coupled = new FullHessianLoss(tensor(Matrices.SecondMoment(random, problem.Columns)), 0);
        using var sweep = new ExactSweep { Batched = true };
        Tensor Sweep(ulong seed)
        {
            using var own = NewDisposeScope();
            using ArmorFactorization factorization = problem.Factorization();
            sweep.Step(factorization, new StepContext(problem.Target, full ? coupled : diagonal) { Seed = seed, Noise = new AnnealingNoise(0.5f, 1e9f) });
            return factorization.Core.clone().MoveToOuterDisposeScope();
        }

        Tensor first = Sweep(1);
        Assert.That(Sweep(1).equal(first).all().IsTrue());
        Assert.That(Sweep(2).equal(first).all().IsTrue(), Is.False);

        GC.Collect();
        GC.WaitForPendingFinalizers();
        long before = Tensor.TotalCount;
        Sweep(3).Dispose();
        Assert.That(Tensor.TotalCount, Is.EqualTo(before));
    }

    [Test]
    public void Result_does_not_depend_on_the_number_of_lanes([Values] bool full)
    {
        using var scope = NewDisposeScope();
        var random = new Random(8);
        SweepProblem problem = SweepProblem.Create(random, 12, 21, 20, 4);
        using var diagonal = new DiagonalLoss(ones(problem.Columns));
        using var coupled = new FullHessianLoss(tensor(Matrices.SecondMoment(random, problem.Columns)), 0);
        var context = new StepContext(problem.Target, full ? coupled : diagonal) { Seed = 5, Noise = new AnnealingNoise(0.4f, 0.5f) };
        Tensor[] cores = [.. LaneCounts.Select(lanes =>
        {
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep { Lanes = lanes }.Step(factorization, context);
            return factorization.Core.clone();
        })];
        Assert.That(cores, Has.All.Matches<Tensor>(core => core!.equal(cores[0]).all().IsTrue()));
    }

    [Test]
    public void Noise_changes_the_choice_and_its_bound_limits_the_harm()
    {
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(new Random(4), 8, 8, 8, 8);
        using var loss = new DiagonalLoss(ones(problem.Columns));
        double Loss(AnnealingNoise noise, ulong seed)
        {
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep().Step(factorization, new StepContext(problem.Target, loss) { Noise = noise, Seed = seed });
            return loss.Value(problem.Target - factorization.Product());
        }

        double exact = Loss(default, 1);
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e9f), 1), Is.GreaterThan(exact));
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e9f), 1), Is.Not.EqualTo(Loss(new AnnealingNoise(0.5f, 1e9f), 2)));
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e-9f), 1), Is.EqualTo(exact).Within(1e-3 * exact));
    }

    [Test]
    public void Sweep_keeps_two_of_four_and_never_raises_the_loss() =>
        Gen.Select(Gen.Int[1, 17], Gen.Int[1, 4], Gen.Int[1, 9], Gen.Int[1, 4], Gen.Int, Gen.Bool).Sample((outputBlock, outputs, groups, inputs, seed, full) =>
        {
            using var scope = NewDisposeScope();
            var random = new Random(seed);
            SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, 4 * groups, inputs);
            using var diagonal = new DiagonalLoss(ones(problem.Columns));
            using var coupled = new FullHessianLoss(tensor(Matrices.SecondMoment(random, problem.Columns)), 0);
            IProxyLoss loss = full ? coupled : diagonal;
            using ArmorFactorization factorization = problem.Factorization();
            double previous = loss.Value(problem.Target - factorization.Product());
            for (int sweep = 0; sweep < 3; sweep++)
            {
                new ExactSweep().Step(factorization, new StepContext(problem.Target, loss));
                double now = loss.Value(problem.Target - factorization.Product());
                Assert.That(now, Is.LessThanOrEqualTo((previous * (1 + 1e-5)) + 1e-6));
                previous = now;
            }

            Assert.That(factorization.Core.reshape(-1, 4).ne(0).sum(1).le(2).all().IsTrue());
        }, iter: 60);

    [Test]
    public void Values_that_are_not_numbers_leave_their_group_as_it_is()
    {
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(new Random(6), 4, 2, 8, 2);
        Tensor target = problem.Target.clone();
        target[0, 0] = float.NaN;
        using var loss = new DiagonalLoss(ones(problem.Columns));
        using ArmorFactorization factorization = problem.Factorization();
        new ExactSweep().Step(factorization, new StepContext(target, loss));
        Assert.That(factorization.Core.isfinite().all().IsTrue());
    }

    private static void AssertSweepEqualsReference(SweepProblem problem, IProxyLoss loss, double[,] hessian)
    {
        double[,] expected = problem.Reference(loss, hessian);
        foreach (int lanes in (int[])[.. LaneCounts, 0])
        {
            // 0: as tensor operations
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep { Lanes = lanes == 0 ? null : lanes, Batched = lanes == 0 }.Step(factorization, new StepContext(problem.Target, loss));
            Assert.That(problem.Worst(factorization.Core, expected), Is.LessThan(2e-3), $"{lanes} lanes");
        }
    }
}
