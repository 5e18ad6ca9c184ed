using Armor.Core.Calibration.Gradients;
using Armor.Core.Pruning.Losses;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Losses;

[TestFixture]
public sealed class OutputHessianTests
{
    [Test]
    public void Products_and_blocks_are_those_of_the_whole_matrix()
    {
        using var scope = NewDisposeScope();
        var random = new Random(4);
        int[] sizes = [5, 1, 9];
        Tensor[] moments = [.. sizes.Select(size => Matrices.ToTensor(Matrices.SecondMoment(random, size)))];
        using var gradients = new GradientStatistics(moments, 1);
        using var g = new OutputHessian(gradients, 0);
        Tensor whole = block_diag([.. gradients.Blocks]).to(float64);
        whole = whole.Over(whole.diagonal().mean().ToNumber());
        Tensor x = Matrices.ToTensor(Matrices.Random(random, 15, 4));
        Tensor product = whole.matmul(x.to(float64));

        Assert.Multiple(() =>
        {
            AssertNear(g.Multiply(x), product);
            for (int first = 0; first < 15; first++)
            {
                for (int count = 1; first + count <= 15; count++)
                {
                    AssertNear(g.MultiplyRows(x, first, count), product.narrow(0, first, count));
                    AssertNear(g.Block(first, count), whole.narrow(0, first, count).narrow(1, first, count));
                    Tensor y = zeros(15, 4);
                    g.AddAbove(y, x.narrow(0, first, count), first);
                    Tensor passed = whole.narrow(1, first, count).matmul(x.narrow(0, first, count).to(float64));
                    AssertNear(y.narrow(0, 0, first + count), passed.narrow(0, 0, first + count));
                    Assert.That(y.narrow(0, first + count, 15 - first - count).abs().sum().item<float>(), Is.Zero);
                }
            }
        });
    }

    [Test]
    public void Runs_end_where_blocks_of_both_sizes_do()
    {
        using var scope = NewDisposeScope();
        using var gradients = new GradientStatistics([.. new[] { 4, 6, 8, 6 }.Select(size => eye(size))], 1);
        using var g = new OutputHessian(gradients, 0);
        Assert.Multiple(() =>
        {
            Assert.That(Runs(1), Is.EqualTo(new[] { "0: 4", "4: 10", "10: 18", "18: 24" }));
            Assert.That(Runs(6), Is.EqualTo(new[] { "0: 4 10 18", "18: 24" }));
            Assert.That(Runs(8), Is.EqualTo(new[] { "0: 4 10 18 24" }));
        });

        string[] Runs(long size) => [.. g.Runs(size).Select(run => $"{run.First}: {string.Join(' ', run.Ends)}")];
    }

    [Test]
    public void Without_gradients_all_outputs_count_alike()
    {
        using var scope = NewDisposeScope();
        using var gradients = new GradientStatistics([zeros(6, 6)], 1);
        using var g = new OutputHessian(gradients, 0.05);
        AssertNear(g.Block(0, 6), eye(6, dtype: float64));
    }

    private static void AssertNear(Tensor found, Tensor expected)
    {
        Assert.That(found.shape, Is.EqualTo(expected.shape));
        if (expected.numel() > 0)
        {
            Assert.That((found.to(float64) - expected).abs().max().item<double>(), Is.LessThan(1e-5));
        }
    }
}
