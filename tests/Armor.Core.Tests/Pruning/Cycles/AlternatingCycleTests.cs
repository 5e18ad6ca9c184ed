using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Cycles;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Cycles;

[TestFixture]
public sealed class AlternatingCycleTests
{
    // d_out, d_in, b_A, b_B; 0: no wrapper. Several strips, strips of several blocks, one block for all, and one side only.
    private static readonly int[][] Shapes =
    [
        [12, 24, 3, 8], [16, 300, 4, 12], [40, 160, 8, 32], [20, 264, 20, 132], [9, 20, 9, 20], [16, 144, 8, 0], [16, 136, 0, 8], [6, 140, 0, 0],
    ];

    [Test]
    public void The_loss_is_that_of_the_product_where_factors_cancel([Range(1, 6)] int seed)
    {
        // Rows of B that are all but the same, and a core of large values that take each other back.
        using var scope = NewDisposeScope();
        var random = new Random(seed);
        Tensor target = Matrices.ToTensor(Matrices.Random(random, 8, 8));
        using var loss = new DiagonalLoss(ones(8));
        Tensor b = ones(2, 4, 4).add(Matrices.ToTensor(Matrices.Random(random, 8, 4)).view(2, 4, 4) * 1e-4f);
        Tensor core = Matrices.ToTensor(Matrices.Random(random, 8, 8)) * 1e4f;
        core *= tensor((float[])[1, -1, 0, 0, 1, -1, 0, 0]);
        using var factorization = new ArmorFactorization(core, eye(4).repeat(2, 1, 1), b);
        using var cycle = new SeparableCycle(loss.Value(target));
        double told = cycle.Step(factorization, new StepContext(target, loss));
        double found = loss.Value(target - factorization.ExactProduct());
        Assert.That(told, Is.EqualTo(found).Within((0.05 * found) + (1e-4 * loss.Value(target))));
    }

    [Test]
    public void Coupled_cycles_tell_the_loss_and_never_raise_it([ValueSource(nameof(Shapes))] int[] shape)
    {
        using var scope = NewDisposeScope();
        var random = new Random(11);
        double[,] hessian = Matrices.SecondMoment(random, shape[1]);
        using var loss = new FullHessianLoss(tensor(hessian), 0.01);
        using var cycle = new CoupledCycle(loss);
        AssertTellsTheLoss(cycle, loss, Damped(hessian, 0.01), shape, random);
    }

    // Enough rows for several strips, and G in one block or in several that cut the strips.
    private static readonly object[][] TwoSidedShapes =
    [
        [new[] { 12, 24, 3, 8 }, new[] { 12 }],
        [new[] { 300, 24, 4, 12 }, new[] { 300 }],
        [new[] { 264, 136, 8, 8 }, new[] { 100, 100, 64 }],
        [new[] { 9, 20, 9, 20 }, new[] { 9 }],
        [new[] { 140, 144, 0, 8 }, new[] { 70, 70 }],
        [new[] { 20, 136, 4, 0 }, new[] { 20 }],
        [new[] { 131, 12, 0, 0 }, new[] { 131 }],
    ];

    [TestCaseSource(nameof(TwoSidedShapes))]
    public void Two_sided_cycles_tell_the_loss_and_never_raise_it(int[] shape, int[] blocks)
    {
        using var scope = NewDisposeScope();
        var random = new Random(14);
        double[,] hessian = Matrices.SecondMoment(random, shape[1]);
        double[][,] moments = [.. blocks.Select(size => Matrices.SecondMoment(random, size))];
        using var gradients = new GradientStatistics([.. moments.Select(Matrices.ToTensor)], 1);
        using var loss = new TwoSidedLoss(tensor(hessian), 0.01, gradients, 0.05);

        // tr(G·E·H·Eᵀ) is the one-sided loss of L·E for G = LᵀL: here by G·E against E.
        double[,] g = Weighting(moments, 0.05);
        AssertTellsTheLoss(new CoupledCycle(loss), loss, Damped(hessian, 0.01), shape, random, g);
    }

    [Test]
    public void Two_sided_cycles_without_weights_on_the_outputs_are_coupled_cycles()
    {
        using var scope = NewDisposeScope();
        var random = new Random(15);
        double[,] hessian = Matrices.SecondMoment(random, 160);
        using var plain = new FullHessianLoss(tensor(hessian), 0.01);
        using var gradients = new GradientStatistics([eye(40)], 1);
        using var loss = new TwoSidedLoss(tensor(hessian), 0.01, gradients, 0);
        using var one = new CoupledCycle(plain);
        using var two = new CoupledCycle(loss);
        (Tensor target, ArmorFactorization first) = Start(random, [40, 160, 8, 8]);
        using ArmorFactorization second = first.Clone();
        double expected = one.Step(first, new StepContext(target, plain));
        double found = two.Step(second, new StepContext(target, loss));
        double difference = (first.Product() - second.Product()).abs().max().ToNumber();
        first.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(found, Is.EqualTo(expected).Within(1e-4 * expected));
            Assert.That(difference, Is.LessThan(1e-2));
        });
    }

    [Test]
    public void Weights_on_the_outputs_lower_the_weighted_loss()
    {
        using var scope = NewDisposeScope();
        var random = new Random(16);
        double[,] hessian = Matrices.SecondMoment(random, 64);
        using var gradients = new GradientStatistics([Matrices.ToTensor(Matrices.SecondMoment(random, 48))], 1);
        using var plain = new FullHessianLoss(tensor(hessian), 0.01);
        using var loss = new TwoSidedLoss(tensor(hessian), 0.01, gradients, 0.05);
        using var one = new CoupledCycle(plain);
        using var two = new CoupledCycle(loss);
        (Tensor target, ArmorFactorization first) = Start(random, [48, 64, 8, 8]);
        using ArmorFactorization second = first.Clone();
        for (int k = 0; k < 20; k++)
        {
            one.Step(first, new StepContext(target, plain));
            two.Step(second, new StepContext(target, loss));
        }

        double without = loss.Value(target - first.Product());
        double with = loss.Value(target - second.Product());
        first.Dispose();
        Assert.That(with, Is.LessThan(0.9 * without));
    }

    [Test]
    public void Separable_cycles_tell_the_loss_and_never_raise_it([ValueSource(nameof(Shapes))] int[] shape)
    {
        using var scope = NewDisposeScope();
        var random = new Random(12);
        double[] h = [.. Enumerable.Range(0, shape[1]).Select(_ => (double)(float)(0.1 + random.NextDouble()))];
        using var loss = new DiagonalLoss(tensor(h));
        AssertTellsTheLoss(null, loss, Matrices.Diagonal(h), shape, random);
    }

    [Test]
    public void Coupled_cycles_end_where_separate_steps_do()
    {
        using var scope = NewDisposeScope();
        var random = new Random(13);
        using var loss = new FullHessianLoss(tensor(Matrices.SecondMoment(random, 160)), 0.01);
        using var together = new CoupledCycle(loss);
        using var apart = new SeparateSteps(new Armor.Core.Pruning.SparseCores.ExactSweep(), new Armor.Core.Pruning.Wrappers.LeastSquaresWrappers());
        (Tensor target, ArmorFactorization one) = Start(random, [40, 160, 8, 8]);
        using ArmorFactorization other = one.Clone();
        var context = new StepContext(target, loss);
        double first = 0;
        double second = 0;
        for (int k = 0; k < 60; k++)
        {
            first = together.Step(one, context);
            second = apart.Step(other, context);
        }

        one.Dispose();
        Assert.That(first, Is.EqualTo(second).Within(0.1 * second));
    }

    private static void AssertTellsTheLoss(IAlternatingCycle? cycle, IProxyLoss loss, double[,] hessian, int[] shape, Random random, double[,]? outputs = null)
    {
        (Tensor target, ArmorFactorization start) = Start(random, shape);
        using ArmorFactorization factorization = start;
        cycle ??= new SeparableCycle(loss.Value(target));
        using var owned = cycle as IDisposable;
        var context = new StepContext(target, loss);
        double previous = double.PositiveInfinity;
        double rounding = 2e-7 * loss.Value(target); // single precision, and small problems are solved to nothing
        for (int k = 0; k < 4; k++)
        {
            double told = cycle.Step(factorization, context);
            double[,] product = Matrices.Product(
                Matrices.Product(Matrices.Spread(factorization.OutputBlocks, shape[0]), Matrices.FromTensor(factorization.Core)),
                Matrices.Spread(factorization.InputBlocks, shape[1]));
            double[,] error = Matrices.Minus(Matrices.FromTensor(target), product);
            double expected = outputs is null ? Matrices.Loss(error, hessian) : Inner(Matrices.Product(outputs, error), Matrices.Product(error, hessian));
            Assert.That(told, Is.EqualTo(expected).Within((1e-6 * expected) + rounding));
            Assert.That(told, Is.LessThanOrEqualTo((previous * (1 + 1e-6)) + rounding));
            previous = told;
        }
    }

    private static (Tensor Target, ArmorFactorization Start) Start(Random random, int[] shape)
    {
        Tensor target = Matrices.ToTensor(Matrices.Random(random, shape[0], shape[1]));
        Tensor mask = tensor(new float[] { 1, 0, 0, 1 }).repeat(shape[1] / 4);
        return (target, new ArmorFactorization(target * mask, Identity(shape[0], shape[2]), Identity(shape[1], shape[3])));

        static Tensor? Identity(int dimension, int block) => block == 0 ? null : eye(block).unsqueeze(0).repeat(dimension / block, 1, 1);
    }

    // Damped, of mean diagonal 1, zero outside the blocks.
    private static double[,] Weighting(double[][,] moments, double damping)
    {
        int size = moments.Sum(moment => moment.GetLength(0));
        double mean = moments.Sum(moment => Enumerable.Range(0, moment.GetLength(0)).Sum(i => (double)(float)moment[i, i])) / size;
        double[,] all = new double[size, size];
        int first = 0;
        foreach (double[,] moment in moments)
        {
            int count = moment.GetLength(0);
            for (int i = 0; i < count; i++)
            {
                for (int j = 0; j < count; j++)
                {
                    all[first + i, first + j] = (((float)moment[i, j] / mean) + (i == j ? damping : 0)) / (1 + damping);
                }
            }

            first += count;
        }

        return all;
    }

    private static double Inner(double[,] a, double[,] b)
    {
        double sum = 0;
        for (int i = 0; i < a.GetLength(0); i++)
        {
            for (int j = 0; j < a.GetLength(1); j++)
            {
                sum += a[i, j] * b[i, j];
            }
        }

        return sum;
    }

    private static double[,] Damped(double[,] hessian, double damping)
    {
        int size = hessian.GetLength(0);
        double mean = Enumerable.Range(0, size).Average(i => hessian[i, i]);
        var damped = (double[,])hessian.Clone();
        for (int i = 0; i < size; i++)
        {
            damped[i, i] += damping * mean;
        }

        return damped;
    }
}
