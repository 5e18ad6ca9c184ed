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
    public void Coupled_cycles_tell_the_loss_and_never_raise_it([ValueSource(nameof(Shapes))] int[] shape)
    {
        using var scope = NewDisposeScope();
        var random = new Random(11);
        double[,] hessian = Matrices.SecondMoment(random, shape[1]);
        using var loss = new FullHessianLoss(tensor(hessian), 0.01);
        using var cycle = new CoupledCycle(loss);
        AssertTellsTheLoss(cycle, loss, Damped(hessian, 0.01), shape, random);
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

    private static void AssertTellsTheLoss(IAlternatingCycle? cycle, IProxyLoss loss, double[,] hessian, int[] shape, Random random)
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
            double expected = Matrices.Loss(error, hessian);
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
