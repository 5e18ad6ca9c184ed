using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Losses;

public class BlockedCholeskyTests
{
    // Within one block of columns, at its edge, and over several with a rest.
    [TestCase(1)]
    [TestCase(37)]
    [TestCase(512)]
    [TestCase(1100)]
    public void FactorAndSolutionEqualLibtorchs(int size)
    {
        using var scope = NewDisposeScope();
        Tensor h = Moment(size, 3);
        Tensor factor = h.clone();
        Assert.That(BlockedCholesky.FactorInPlace(factor), Is.True);
        Assert.That((factor.tril() - linalg.cholesky(h)).abs().max().ToNumber(), Is.LessThan(1e-9 * size));
        Tensor right = randn([size, 5], float64, generator: new Generator(9));
        Assert.That((BlockedCholesky.Solve(factor, right) - linalg.solve(h, right)).abs().max().ToNumber(), Is.LessThan(1e-9));
    }

    [Test]
    public void WhatIsNotPositiveDefiniteIsRefused()
    {
        using var scope = NewDisposeScope();
        Tensor h = Moment(700, 3);
        h[600, 600].copy_(tensor(-1.0, float64));
        Assert.That(BlockedCholesky.FactorInPlace(h), Is.False);
    }

    [TestCase(8)]
    [TestCase(600)]
    public void TheCrossTargetSolvesItsSystem(int size)
    {
        using var scope = NewDisposeScope();
        Tensor h = Moment(size, 3);
        Tensor c = Moment(size, 4);
        Tensor weight = randn([7, size], float32, generator: new Generator(5));
        Tensor target = CrossTarget.Of(weight, h, c, 0.01)!;
        Tensor identity = eye(size, dtype: float64) * (h.diagonal().mean() * tensor(0.01, float64));
        Tensor expected = linalg.solve(h.add(identity), weight.to(float64).matmul(c.add(identity)).t()).t();
        Assert.That((target - expected).abs().max().ToNumber(), Is.LessThan(1e-5 * expected.abs().max().ToNumber()));
        Assert.That((CrossTarget.Of(weight, zeros_like(h), zeros_like(h), 0.01)! - weight).abs().max().ToNumber(), Is.Zero);
    }

    [Test]
    public void MomentsInFloat32GiveTheSameTarget()
    {
        using var scope = NewDisposeScope();
        Tensor h = Moment(1100, 6);
        Tensor c = Moment(1100, 7);
        Tensor weight = randn([5, 1100], float32, generator: new Generator(8));
        Tensor expected = CrossTarget.Of(weight, h, c, 0.01)!;
        Tensor target = CrossTarget.Of(weight, h.to(float32), c.to(float32), 0.01)!;
        Assert.That((target - expected).abs().max().ToNumber(), Is.LessThan(1e-4 * expected.abs().max().ToNumber()));
    }

    private static Tensor Moment(int size, ulong seed)
    {
        using var scope = NewDisposeScope();
        Tensor x = randn([2 * size, size], float64, generator: new Generator(seed));
        return (x.t().matmul(x) / tensor(2.0 * size, float64)).add(eye(size, dtype: float64) * tensor(0.1, float64)).MoveToOuterDisposeScope();
    }
}
