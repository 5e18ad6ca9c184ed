using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.SparseCores;

[TestFixture]
public sealed class OutputGramTests
{
    // b_A, blocks of A, b_B, blocks of B, blocks of G: one of all rows, several, some that cut blocks of A, and panels and vectors that are not full.
    private static readonly object[][] Shapes =
    [
        [3, 4, 8, 2, new[] { 12 }], [4, 20, 12, 3, new[] { 80 }], [0, 70, 0, 5, new[] { 70 }], [8, 9, 4, 5, new[] { 24, 24, 24 }],
        [8, 9, 20, 2, new[] { 20, 30, 6, 16 }], [0, 41, 8, 5, new[] { 7, 34 }], [4, 10, 4, 1, new[] { 8, 8, 8, 8, 8 }], [37, 1, 44, 1, new[] { 37 }],
    ];

    private static readonly int[] LaneCounts = [4, 8, 16];

    [TestCaseSource(nameof(Shapes))]
    public void Sweep_equals_the_reference(int outputBlock, int outputs, int inputBlock, int inputs, int[] weights)
    {
        using var scope = NewDisposeScope();
        using var problem = Weighted.Create(new Random(21), outputBlock, outputs, inputBlock, inputs, weights, SparsityPattern.TwoFour);
        double[,] expected = problem.Reference();
        foreach (int lanes in (int[])[.. LaneCounts, 0])
        {
            // 0: as tensor operations
            Tensor core = problem.Sweep(default, 1, lanes);
            Assert.That(problem.Plain.Worst(core, expected), Is.LessThan(2e-3), $"{lanes} lanes");
        }
    }

    [Test]
    public void Sweep_of_another_pattern_equals_the_reference()
    {
        using var scope = NewDisposeScope();
        var pattern = new SparsityPattern(1, 4);
        using var problem = Weighted.Create(new Random(22), 8, 9, 20, 2, [20, 30, 6, 16], pattern);
        Assert.That(problem.Plain.Worst(problem.Sweep(default, 1, 4), problem.Reference()), Is.LessThan(2e-3));
        Assert.That(() => problem.Sweep(default, 1, 0), Throws.TypeOf<NotSupportedException>().With.Message.Contains("1:4"));
    }

    [TestCaseSource(nameof(Shapes))]
    public void Result_depends_neither_on_threads_nor_on_lanes(int outputBlock, int outputs, int inputBlock, int inputs, int[] weights)
    {
        using var scope = NewDisposeScope();
        using var problem = Weighted.Create(new Random(23), outputBlock, outputs, inputBlock, inputs, weights, SparsityPattern.TwoFour);
        var noise = new AnnealingNoise(0.4f, 0.5f);
        Tensor one = problem.Sweep(noise, 1, LaneCounts[0]);
        Assert.That(problem.Sweep(default, 1, LaneCounts[0]).equal(one).all().IsTrue(), Is.False);
        foreach (int lanes in LaneCounts)
        {
            Assert.That(problem.Sweep(noise, 3, lanes).equal(one).all().IsTrue(), $"{lanes} lanes");
        }
    }

    [TestCaseSource(nameof(Shapes))]
    public void Product_is_that_with_the_whole_matrix(int outputBlock, int outputs, int inputBlock, int inputs, int[] weights)
    {
        using var scope = NewDisposeScope();
        using var problem = Weighted.Create(new Random(24), outputBlock, outputs, inputBlock, inputs, weights, SparsityPattern.TwoFour);
        using ArmorFactorization factorization = problem.Plain.Factorization();
        using var gram = new OutputGram(factorization, problem.Outputs);
        double[,] x = Matrices.Random(new Random(1), problem.Plain.Rows, 5);
        double[,] root = problem.Factor;
        double[,] expected = Matrices.Product(Matrices.Transposed(root), Matrices.Product(root, x));
        double[,] found = Matrices.FromTensor(gram.Multiply(Matrices.ToTensor(x)));
        Assert.That(found.Cast<double>().Zip(expected.Cast<double>(), (a, b) => Math.Abs(a - b) / (1 + Math.Abs(b))), Has.All.LessThan(1e-4));
    }

    [Test]
    public void Rows_that_carry_nothing_stay_as_they_are_and_values_that_are_not_numbers_leave_their_group()
    {
        using var scope = NewDisposeScope();
        using var gradients = new GradientStatistics([diag(tensor(new float[] { 1, 0, 1, 1, 1 }))], 1);
        using var outputs = new OutputHessian(gradients, 0);
        using var factorization = new ArmorFactorization(tensor(new float[] { 1, 0, 0, 2 }).repeat(5, 5), null, null);
        using var gram = new OutputGram(factorization, outputs);
        Tensor core = factorization.Core.clone();
        Tensor x = ones(5, 20);
        x[2, 5] = float.NaN;
        gram.Sweep(new StepContext(core, new DiagonalLoss(ones(20))), x, null, eye(20), 0, core);
        Assert.Multiple(() =>
        {
            Assert.That(core[1].equal(factorization.Core[1]).all().IsTrue());
            Assert.That(core[0].equal(factorization.Core[0]).all().IsTrue(), Is.False);
            Assert.That(core.isfinite().all().IsTrue());
        });
    }

    // A problem whose outputs have weights G = LᵀL (damped, of mean diagonal 1): without weights it is that of L·W and L·A.
    private sealed record Weighted(SweepProblem Plain, OutputHessian Outputs, double[,] Root, double[,] Hessian) : IDisposable
    {
        // L·A
        public double[,] Factor
        {
            get
            {
                using ArmorFactorization start = Plain.Factorization();
                return Matrices.Product(Root, Matrices.Spread(start.OutputBlocks, Plain.Rows));
            }
        }

        public static Weighted Create(
            Random random, int outputBlock, int outputs, int inputBlock, int inputs, int[] weights, SparsityPattern pattern)
        {
            SweepProblem problem = SweepProblem.Create(random, outputBlock, outputs, inputBlock, inputs, pattern);
            using var gradients = new GradientStatistics([.. weights.Select(size => Matrices.ToTensor(Matrices.SecondMoment(random, size)))], 1);
            var hessian = new OutputHessian(gradients, 0.05);
            Tensor g = hessian.Multiply(eye(problem.Rows)).to(float64);
            return new(problem, hessian, Matrices.FromTensor(linalg.cholesky(g).t().contiguous()), Matrices.SecondMoment(random, problem.Columns));
        }

        public double[,] Reference()
        {
            using ArmorFactorization start = Plain.Factorization();
            return SweepReference.Sweep(
                Matrices.Product(Root, Plain.TargetValues), Hessian, Factor, Plain.CoreValues, Matrices.Spread(start.InputBlocks, Plain.Columns),
                Plain.Pattern, Plain.Columns);
        }

        public Tensor Sweep(AnnealingNoise noise, int threads, int lanes)
        {
            using ArmorFactorization factorization = Plain.Factorization();
            using var loss = new FullHessianLoss(tensor(Hessian), 0);
            using var gram = new OutputGram(factorization, Outputs) { Lanes = lanes == 0 ? null : lanes, Batched = lanes == 0 };
            Tensor weighted = Outputs.Multiply(loss.MultiplyHessian(Plain.Target - factorization.Product(), 0, Plain.Columns));
            Tensor gradient = factorization.MultiplyOutputTransposed(weighted);
            Tensor h = loss.HessianBlock(0, Plain.Columns);
            Tensor core = factorization.Core.clone();
            var context = new StepContext(Plain.Target, loss) { Pattern = Plain.Pattern, Noise = noise, Seed = 7, MaxDegreeOfParallelism = threads };
            gram.Sweep(context, gradient, factorization.InputBlocks, CoreSystems.InputGram(factorization, h.unsqueeze(0), 0)[0], 0, core);
            return core;
        }

        public void Dispose() => Outputs.Dispose();
    }
}
