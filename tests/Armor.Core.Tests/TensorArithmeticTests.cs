using Armor.Core.Tests.Pruning;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests;

[TestFixture]
public sealed class TensorArithmeticTests
{
    [Test]
    public void Inner_products_do_not_depend_on_how_the_entries_lie([Values(1, 7, 16, 100)] int rows, [Values(1, 5, 33)] int columns)
    {
        using var scope = NewDisposeScope();
        var random = new Random(2);
        double[,] x = Matrices.Random(random, rows, columns);
        double[,] y = Matrices.Random(random, rows, columns);
        double expected = x.Cast<double>().Zip(y.Cast<double>(), (a, b) => a * b).Sum();
        Tensor a = Matrices.ToTensor(x);
        Tensor b = Matrices.ToTensor(y);
        Tensor apart = cat([b, b], 1).narrow(1, 0, columns);
        Assert.Multiple(() =>
        {
            Assert.That(a.Inner(b), Is.EqualTo(expected).Within(1e-5));
            Assert.That(a.Inner(apart), Is.EqualTo(expected).Within(1e-5));
            Assert.That(a.to(float64).Inner(b.to(float64)), Is.EqualTo(expected).Within(1e-5));
        });
    }
}
