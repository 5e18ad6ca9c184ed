using Armor.Core.Pruning.Baselines;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Baselines;

[TestFixture]
public sealed class BaselineTests
{
    [Test]
    public void Masks_keep_the_two_largest_and_of_equals_the_first()
    {
        using var scope = NewDisposeScope();
        Tensor importance = tensor(new float[,] { { 1, 2, 3, 4, 5, 5, 5, 5 }, { 0, 0, 0, 0, 9, 1, 1, 1 } });
        Tensor expected = tensor(new[,] { { false, false, true, true, true, true, false, false }, { true, true, false, false, true, true, false, false } });
        Assert.That(LargestMask.Largest(importance, default).equal(expected).all().IsTrue());
    }

    [Test]
    public void Wanda_weighs_by_input_norm_and_NoWag_by_normalised_weight()
    {
        using var scope = NewDisposeScope();
        Tensor weight = tensor(new float[,] { { 1, 2, 3, 4 }, { 8, 1, 1, 1 } });
        Tensor h = tensor(new double[] { 100, 1, 1, 1 });
        Assert.That(LargestMask.Magnitude(weight, default)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { false, false, true, true }));
        Assert.That(LargestMask.Wanda(weight, h, default)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { true, false, false, true }));

        // Column norms √65, √5, √10, √17: 1/√65·10 > 4/√17 > 3/√10 > 2/√5 in the first row.
        Assert.That(LargestMask.NoWagP(weight, h, default)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { true, false, false, true }));
    }

    [Test]
    public void Masks_of_other_patterns_keep_the_largest()
    {
        using var scope = NewDisposeScope();
        Tensor importance = tensor(new float[,] { { 1, 2, 3, 4, 5, 5 }, { 9, 9, 9, 2, 1, 3 } });
        Tensor ofThree = tensor(new[,] { { false, false, true, false, true, false }, { true, false, false, false, false, true } });
        Assert.That(LargestMask.Largest(importance, new SparsityPattern(1, 3)).equal(ofThree).all().IsTrue());
        Tensor ofSix = tensor(new[,] { { true, true, true, true, true, true }, { true, true, true, true, false, true } });
        ofSix[0, 0] = false;
        Assert.That(LargestMask.Largest(importance, new SparsityPattern(5, 6)).equal(ofSix).all().IsTrue());
    }

    [TestCase("2:4", 3, 12)]
    [TestCase("2:4", 5, 132)]
    [TestCase("4:8", 5, 136)]
    [TestCase("2:3", 4, 129)]
    public void SparseGpt_equals_a_plain_float64_implementation(string text, int rows, int columns)
    {
        using var scope = NewDisposeScope();
        SparsityPattern pattern = SparsityPattern.Parse(text);
        var random = new Random(6);
        double[,] weight = Matrices.Random(random, rows, columns);
        double[,] h = Matrices.SecondMoment(random, columns);
        Tensor found = SparseGpt.Prune(Matrices.ToTensor(weight), tensor(h), 0.01, pattern, default).Weight;
        Tensor expected = Matrices.ToTensor(SparseGptReference.Prune(weight, h, 0.01, pattern));
        Assert.That(found.allclose(expected, 1e-3, 1e-4));
        Assert.That(found.reshape(-1, pattern.Group).ne(0).sum(1).le(pattern.Kept).all().IsTrue());
    }

    [Test]
    public void SparseGpt_raises_the_damping_until_an_indefinite_Hessian_can_be_factorised()
    {
        using var scope = NewDisposeScope();
        double[,] h = Matrices.Diagonal([1, 1, 1, 1, 1, 1, 1, 1]);
        h[0, 1] = h[1, 0] = 1.05;
        (Tensor weight, double damping) = SparseGpt.Prune(randn(4, 8), tensor(h), 0.01, default, default);
        Assert.That(damping, Is.EqualTo(0.1).Within(1e-12));
        Assert.That(weight.isfinite().all().IsTrue());
    }
}
