using Armor.Core.Pruning.Baselines;
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
        Assert.That(TwoFourMask.Largest(importance).equal(expected).all().ToBoolean());
    }

    [Test]
    public void Wanda_weighs_by_input_norm_and_NoWag_by_normalised_weight()
    {
        using var scope = NewDisposeScope();
        Tensor weight = tensor(new float[,] { { 1, 2, 3, 4 }, { 8, 1, 1, 1 } });
        Tensor h = tensor(new double[] { 100, 1, 1, 1 });
        Assert.That(TwoFourMask.Magnitude(weight)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { false, false, true, true }));
        Assert.That(TwoFourMask.Wanda(weight, h)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { true, false, false, true }));

        // Column norms √65, √5, √10, √17: 1/√65·10 > 4/√17 > 3/√10 > 2/√5 in the first row.
        Assert.That(TwoFourMask.NoWagP(weight, h)[0].ne(0).data<bool>().ToArray(), Is.EqualTo(new[] { true, false, false, true }));
    }

    [TestCase(3, 12)]
    [TestCase(5, 132)]
    public void SparseGpt_equals_a_plain_float64_implementation(int rows, int columns)
    {
        using var scope = NewDisposeScope();
        var random = new Random(6);
        double[,] weight = Matrices.Random(random, rows, columns);
        double[,] h = Matrices.SecondMoment(random, columns);
        Tensor found = SparseGpt.Prune(Matrices.ToTensor(weight), tensor(h), 0.01, default).Weight;
        Tensor expected = Matrices.ToTensor(SparseGptReference.Prune(weight, h, 0.01));
        Assert.That(found.allclose(expected, 1e-3, 1e-4));
        Assert.That(found.reshape(-1, 4).ne(0).sum(1).le(2).all().ToBoolean());
    }

    [Test]
    public void SparseGpt_raises_the_damping_until_an_indefinite_Hessian_can_be_factorised()
    {
        using var scope = NewDisposeScope();
        double[,] h = Matrices.Diagonal([1, 1, 1, 1, 1, 1, 1, 1]);
        h[0, 1] = h[1, 0] = 1.05;
        (Tensor weight, double damping) = SparseGpt.Prune(randn(4, 8), tensor(h), 0.01, default);
        Assert.That(damping, Is.EqualTo(0.1).Within(1e-12));
        Assert.That(weight.isfinite().all().ToBoolean());
    }
}
