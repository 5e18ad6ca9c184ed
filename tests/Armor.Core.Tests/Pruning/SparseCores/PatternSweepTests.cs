using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.SparseCores.Patterns;
using Armor.Runtime.Factorization;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.SparseCores;

/// <summary>The sweep of patterns other than 2:4, and that of 2:4 by the same general code.</summary>
[TestFixture]
public sealed class PatternSweepTests
{
    // Few masks and many, groups of odd sizes, of one vector of columns and of two.
    private static readonly string[] Patterns = ["2:4", "1:2", "1:4", "3:4", "2:3", "2:5", "4:8", "6:8", "2:8", "3:12", "15:16"];

    [Test]
    public void Sweep_equals_the_reference_with_every_mask_tried(
        [ValueSource(nameof(Patterns))] string text, [Values(0, 1, 5, 8)] int outputBlock, [Values(0, 1, 3)] int groups, [Values] bool full)
    {
        using var scope = NewDisposeScope();
        SparsityPattern pattern = SparsityPattern.Parse(text);
        var random = new Random(19);
        SweepProblem problem = SweepProblem.Create(random, outputBlock, 2, groups * pattern.Group, groups == 0 ? 3 : 2, pattern);
        double[,] h = full
            ? Matrices.SecondMoment(random, problem.Columns)
            : Matrices.Diagonal([.. Enumerable.Range(0, problem.Columns).Select(_ => (double)(float)(0.2 + random.NextDouble()))]);
        using var coupled = new FullHessianLoss(tensor(h), 0);
        using var diagonal = new DiagonalLoss(tensor(h).diagonal());
        IProxyLoss loss = full ? coupled : diagonal;
        using ArmorFactorization factorization = problem.Factorization();
        new ExactSweep().Step(factorization, new StepContext(problem.Target, loss) { Pattern = pattern });
        Assert.That(problem.Worst(factorization.Core, problem.Reference(loss, h)), Is.LessThan(2e-3));
    }

    [Test]
    public void The_general_sweep_of_two_of_four_is_the_special_one()
    {
        using var scope = NewDisposeScope();
        SweepProblem problem = SweepProblem.Create(new Random(20), 8, 5, 40, 2);
        using var loss = new DiagonalLoss(ones(problem.Columns));
        using ArmorFactorization special = problem.Factorization();
        new ExactSweep().Step(special, new StepContext(problem.Target, loss));

        using ArmorFactorization general = problem.Factorization();
        Tensor q = CoreSystems.InputGram(general, eye(40).repeat(2, 1, 1), 0).contiguous();
        Tensor r = BlockDiagonalProduct.ColumnBlocks(CoreSystems.Project(general, problem.Target, 0, 80), 40);
        Tensor core = general.Core.clone();
        Tensor t = bmm(BlockDiagonalProduct.ColumnBlocks(core, 40), q);
        PatternSweep.Run(q, r, t, CoreSystems.OutputGram(general), core, 0, new StepContext(problem.Target, loss));
        Assert.That(core.allclose(special.Core, 1e-3, 1e-3));
    }

    [Test]
    public void Sweep_keeps_the_pattern_and_never_raises_the_loss() =>
        Gen.Select(Gen.Int[0, Patterns.Length - 1], Gen.Int[0, 9], Gen.Int[1, 4], Gen.Int[0, 3], Gen.Int, Gen.Bool, Gen.Int[0, 6]).Sample(
            (index, outputBlock, outputs, groups, seed, full, kind) =>
            {
                using var scope = NewDisposeScope();
                SparsityPattern pattern = SparsityPattern.Parse(Patterns[index]);
                var random = new Random(seed);
                SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, groups * pattern.Group, 2, pattern);
                (double[,] weight, double[,] h) = AwkwardInput.Create(kind, problem.Rows, problem.Columns, random);
                Tensor target = Matrices.ToTensor(weight);
                using var diagonal = new DiagonalLoss(tensor(h).diagonal());
                using var coupled = new FullHessianLoss(tensor(h), 1e-3);
                IProxyLoss loss = full ? coupled : diagonal;
                using ArmorFactorization factorization = problem.Factorization();
                double scale = loss.Value(target);
                double previous = loss.Value(target - factorization.Product());
                for (int sweep = 0; sweep < 3; sweep++)
                {
                    new ExactSweep().Step(factorization, new StepContext(target, loss) { Pattern = pattern });
                    double now = loss.Value(target - factorization.Product());
                    Assert.That(now, Is.LessThanOrEqualTo((previous * (1 + 1e-5)) + (1e-5 * scale) + 1e-6), $"{pattern}, {kind}, {full}");
                    previous = now;
                }

                Assert.That(factorization.Core.reshape(-1, pattern.Group).ne(0).sum(1).le(pattern.Kept).all().IsTrue());
            },
            iter: 150);

    [Test]
    public void Result_does_not_depend_on_the_number_of_threads()
    {
        using var scope = NewDisposeScope();
        SparsityPattern pattern = SparsityPattern.Parse("4:8");
        SweepProblem problem = SweepProblem.Create(new Random(3), 16, 12, 16, 16, pattern);
        using var loss = new DiagonalLoss(ones(problem.Columns));
        Tensor[] cores = [.. new[] { 1, 2, 3, 8 }.Select(threads =>
        {
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep().Step(factorization, new StepContext(problem.Target, loss)
            {
                Pattern = pattern,
                Seed = 5,
                MaxDegreeOfParallelism = threads,
                Noise = new AnnealingNoise(0.4f, 0.5f),
            });
            return factorization.Core.clone();
        })];
        Assert.That(cores, Has.All.Matches<Tensor>(core => core!.equal(cores[0]).all().IsTrue()));
    }

    [Test]
    public void Noise_changes_the_choice_and_its_bound_limits_the_harm()
    {
        using var scope = NewDisposeScope();
        SparsityPattern pattern = SparsityPattern.Parse("4:8");
        SweepProblem problem = SweepProblem.Create(new Random(4), 8, 8, 8, 8, pattern);
        using var loss = new DiagonalLoss(ones(problem.Columns));
        double Loss(AnnealingNoise noise, ulong seed)
        {
            using ArmorFactorization factorization = problem.Factorization();
            new ExactSweep().Step(factorization, new StepContext(problem.Target, loss) { Pattern = pattern, Noise = noise, Seed = seed });
            return loss.Value(problem.Target - factorization.Product());
        }

        double exact = Loss(default, 1);
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e9f), 1), Is.GreaterThan(exact));
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e9f), 1), Is.Not.EqualTo(Loss(new AnnealingNoise(0.5f, 1e9f), 2)));
        Assert.That(Loss(new AnnealingNoise(0.5f, 1e-9f), 1), Is.EqualTo(exact).Within(1e-3 * exact));
    }

    [TestCase("2:4")]
    [TestCase("4:8")]
    [TestCase("6:8")]
    [TestCase("3:12")]
    public void One_group_a_block_never_raises_the_loss_and_ends_far_below_the_start(string text)
    {
        using var scope = NewDisposeScope();
        SparsityPattern pattern = SparsityPattern.Parse(text);
        SweepProblem problem = SweepProblem.Create(new Random(5), 4, 3, 2 * pattern.Group, 2, pattern);
        using var loss = new FullHessianLoss(tensor(Matrices.SecondMoment(new Random(6), problem.Columns)), 0);
        foreach (OneGroupSelector selector in (OneGroupSelector[])[new GroupAtRandom(), new GroupByGradient(), new GroupByGradient(GroupNorm.L2, greedy: true)])
        {
            using ArmorFactorization factorization = problem.Factorization();
            double start = loss.Value(problem.Target - factorization.Product());
            double previous = start;
            for (int step = 0; step < 40; step++)
            {
                selector.Step(factorization, new StepContext(problem.Target, loss) { Pattern = pattern, Seed = (ulong)step });
                double now = loss.Value(problem.Target - factorization.Product());
                Assert.That(now, Is.LessThanOrEqualTo(previous * (1 + 1e-5)));
                previous = now;
            }

            Assert.That(previous, Is.LessThan(0.8 * start));
            Assert.That(factorization.Core.reshape(-1, pattern.Group).ne(0).sum(1).le(pattern.Kept).all().IsTrue());
            selector.Dispose();
        }
    }
}
