using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.Wrappers;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Wrappers;

[TestFixture]
public sealed class WrapperOptimizerTests
{
    [Test]
    public void Exact_and_gradient_descent_steps_never_raise_the_loss() =>
        Gen.Select(Gen.Int[1, 9], Gen.Int[1, 3], Gen.Int[1, 4], Gen.Int[1, 3], Gen.Bool, Gen.Bool, Gen.Int).Sample((output, outputs, groups, inputs, exact, full, seed) =>
        {
            using var scope = NewDisposeScope();
            var random = new Random(seed);
            (Tensor target, ArmorFactorization start) = Problem(random, output, outputs, 4 * groups, inputs);
            using ArmorFactorization factorization = start;
            long columns = target.shape[1];
            using var diagonal = new DiagonalLoss(rand(columns) + 0.1);
            using var coupled = new FullHessianLoss(tensor(Matrices.SecondMoment(random, (int)columns)), 0);
            var context = new StepContext(target, full ? coupled : diagonal);
            IWrapperOptimizer optimizer = exact ? new LeastSquaresWrappers() : new GradientDescentWrappers();
            double previous = context.Loss.Value(target - factorization.Product());
            double rounding = 1e-6 * context.Loss.Value(target); // small problems are solved to nothing
            for (int step = 0; step < 4; step++)
            {
                optimizer.Step(factorization, context);
                double now = context.Loss.Value(target - factorization.Product());
                Assert.That(now, Is.LessThanOrEqualTo((previous * (1 + 1e-5)) + rounding));
                previous = now;
            }

            (optimizer as IDisposable)?.Dispose();
        }, iter: 60);

    [TestCase(false)]
    [TestCase(true)]
    public void Least_squares_leaves_no_gradient_on_the_wrapper_solved_last(bool full)
    {
        using var scope = NewDisposeScope();
        var random = new Random(3);
        // One block of B only, so that the last solve is exact under a coupled loss too.
        (Tensor target, ArmorFactorization start) = Problem(random, 4, 6, 12, 1);
        using ArmorFactorization factorization = start;
        using var diagonal = new DiagonalLoss(rand(12) + 0.1);
        using var coupled = new FullHessianLoss(tensor(Matrices.SecondMoment(random, 12)), 0);
        var context = new StepContext(target, full ? coupled : diagonal);
        using var optimizer = new LeastSquaresWrappers();
        double before = WrapperGradients.Of(factorization, context).Input!.abs().max().ToNumber();
        optimizer.Step(factorization, context);
        Assert.That(WrapperGradients.Of(factorization, context).Input!.abs().max().ToNumber(), Is.LessThan(1e-3 * before));
    }

    [Test]
    public void Gradients_equal_autograd()
    {
        using var scope = NewDisposeScope();
        var random = new Random(4);
        (Tensor target, ArmorFactorization start) = Problem(random, 4, 3, 8, 2);
        using ArmorFactorization factorization = start;
        double[,] hessian = Matrices.SecondMoment(random, 16);
        using var loss = new FullHessianLoss(tensor(hessian), 0);
        WrapperGradients gradients = WrapperGradients.Of(factorization, new StepContext(target, loss));

        Tensor a = factorization.OutputBlocks!.clone().requires_grad_();
        Tensor b = factorization.InputBlocks!.clone().requires_grad_();
        Tensor s = factorization.Core.clone().requires_grad_();
        Tensor error = target - block_diag([.. a.unbind()]).matmul(s).matmul(block_diag([.. b.unbind()]));
        (error.matmul(Matrices.ToTensor(hessian)) * error).sum().backward();
        Assert.That(gradients.Output!.allclose(a.grad!, 1e-3, 1e-3));
        Assert.That(gradients.Input!.allclose(b.grad!, 1e-3, 1e-3));
        Assert.That(gradients.Core.allclose(s.grad! * s.ne(0), 1e-3, 1e-3));
    }

    [Test]
    public void Adam_moves_every_factor_by_its_learning_rate_at_first_and_no_mask()
    {
        using var scope = NewDisposeScope();
        (Tensor target, ArmorFactorization start) = Problem(new Random(5), 4, 3, 8, 2);
        using ArmorFactorization factorization = start;
        using var loss = new DiagonalLoss(ones(16));
        Tensor a = factorization.OutputBlocks!.clone();
        Tensor core = factorization.Core.clone();
        using var optimizer = new AdamWrappers(1e-2);
        optimizer.Step(factorization, new StepContext(target, loss));
        Assert.That((factorization.OutputBlocks! - a).abs().max().ToNumber(), Is.EqualTo(1e-2).Within(1e-4));
        Assert.That(factorization.Core.ne(0).equal(core.ne(0)).all().IsTrue());
        Assert.That((factorization.Core - core).abs().max().ToNumber(), Is.EqualTo(1e-2).Within(1e-4));
    }

    private static (Tensor Target, ArmorFactorization Start) Problem(Random random, int output, int outputs, int input, int inputs)
    {
        Tensor target = Matrices.ToTensor(Matrices.Random(random, output * outputs, input * inputs));
        Tensor mask = tensor(new float[] { 1, 0, 1, 0 }).repeat(target.shape[1] / 4);
        return (target, new ArmorFactorization(target * mask, Blocks(output, outputs), Blocks(input, inputs)));

        Tensor Blocks(int size, int count) =>
            stack([.. Enumerable.Range(0, count).Select(_ => Matrices.ToTensor(Matrices.Random(random, size, size, 0.1)) + eye(size))]);
    }
}
