using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Losses;

[TestFixture]
public sealed class ProxyLossTests
{
    [TestCase(1, 4)]
    [TestCase(7, 12)]
    [TestCase(33, 20)]
    public void Diagonal_loss_equals_the_reference(int rows, int columns)
    {
        using var scope = NewDisposeScope();
        var random = new Random(1);
        double[] h = [.. Enumerable.Range(0, columns).Select(_ => random.NextDouble() + 0.1)];
        using var loss = new DiagonalLoss(tensor(h));
        AssertEqualsReference(loss, Matrices.Random(random, rows, columns), Matrices.Diagonal(h));
        Assert.That(loss.CouplesBlocks(4), Is.False);
    }

    [TestCase(1, 4)]
    [TestCase(7, 12)]
    [TestCase(33, 20)]
    public void Full_loss_equals_the_reference(int rows, int columns)
    {
        using var scope = NewDisposeScope();
        var random = new Random(2);
        double[,] h = Matrices.SecondMoment(random, columns);
        double mean = Enumerable.Range(0, columns).Average(i => h[i, i]);
        using var loss = new FullHessianLoss(tensor(h), 0.01);
        for (int i = 0; i < columns; i++)
        {
            h[i, i] += 0.01 * mean;
        }

        AssertEqualsReference(loss, Matrices.Random(random, rows, columns), h);
        Assert.That(loss.CouplesBlocks(columns), Is.False);
        Assert.That(loss.CouplesBlocks(columns / 2), Is.True);
    }

    [TestCase(7, 12, 4)]
    [TestCase(5, 24, 8)]
    [TestCase(33, 20, 20)]
    [TestCase(3, 6, 1)]
    public void Block_diagonal_loss_equals_the_reference(int rows, int columns, int block)
    {
        using var scope = NewDisposeScope();
        var random = new Random(3);
        double[,] h = Matrices.SecondMoment(random, columns);
        double mean = Enumerable.Range(0, columns).Average(i => h[i, i]);
        using var loss = new BlockDiagonalLoss(tensor(h), block, 0.01);
        for (int i = 0; i < columns; i++)
        {
            for (int j = 0; j < columns; j++)
            {
                h[i, j] = i / block == j / block ? h[i, j] + (i == j ? 0.01 * mean : 0) : 0;
            }
        }

        AssertEqualsReference(loss, Matrices.Random(random, rows, columns), h);
        Assert.That(loss.CouplesBlocks(columns), Is.False);
        Assert.That(loss.CouplesBlocks(block), Is.False);
        Assert.That(loss.CouplesBlocks(1), Is.EqualTo(block > 1));
        Assert.That(() => new BlockDiagonalLoss(tensor(h), 5, 0), columns % 5 == 0 ? Throws.Nothing : Throws.ArgumentException.With.Message.Contains("divide"));
    }

    [Test]
    public void Inputs_that_are_all_zero_count_alike()
    {
        using var scope = NewDisposeScope();
        using var diagonal = new DiagonalLoss(zeros(4));
        using var full = new FullHessianLoss(zeros(4, 4), 0.01);
        Assert.That(diagonal.Value(ones(2, 4)), Is.EqualTo(8));
        Assert.That(full.Value(ones(2, 4)), Is.EqualTo(8));
    }

    [Test]
    public void Unusable_statistics_are_refused()
    {
        using var scope = NewDisposeScope();
        Assert.That(() => new DiagonalLoss(tensor(new[] { 1.0, -1.0 })), Throws.ArgumentException.With.Message.Contains("not negative"));
        Assert.That(() => new DiagonalLoss(tensor(new[] { 1.0, double.NaN })), Throws.ArgumentException.With.Message.Contains("finite"));
        Assert.That(() => new FullHessianLoss(ones(2, 3), 0), Throws.ArgumentException.With.Message.Contains("[2, 3]"));
        Assert.That(() => new FullHessianLoss(ones(2, 2) / 0, 0), Throws.ArgumentException.With.Message.Contains("finite"));
    }

    private static void AssertEqualsReference(IProxyLoss loss, double[,] error, double[,] hessian)
    {
        double expected = Matrices.Loss(error, hessian);
        Tensor e = Matrices.ToTensor(error);
        Assert.That(loss.Value(e), Is.EqualTo(expected).Within(1e-5 * expected));
        Tensor product = Matrices.ToTensor(Matrices.Product(error, hessian));
        long columns = e.shape[1];
        Assert.That(loss.MultiplyHessian(e, 0, columns).allclose(product, 1e-4, 1e-4));
        Assert.That(loss.MultiplyHessian(e, 4, columns - 4).allclose(product.narrow(1, 4, columns - 4), 1e-4, 1e-4));
        Tensor whole = Matrices.ToTensor(hessian);
        Assert.That(loss.HessianBlock(0, 4).allclose(whole.narrow(0, 0, 4).narrow(1, 0, 4), 1e-5, 1e-6));
    }
}
