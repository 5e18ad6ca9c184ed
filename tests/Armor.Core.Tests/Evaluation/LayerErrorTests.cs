using Armor.Core.Calibration;
using Armor.Core.Evaluation;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Evaluation;

public sealed class LayerErrorTests
{
    [Test]
    public void ErrorIsThatOfTheOutputs()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        Tensor inputs = randn([50, 8], float64, generator: generator);
        Tensor weight = randn([6, 8], float64, generator: generator);
        Tensor pruned = weight + (0.3 * randn([6, 8], float64, generator: generator));
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(inputs.t().matmul(inputs) / 50, 50);

        double expected = (inputs.matmul((weight - pruned).t()).norm() / inputs.matmul(weight.t()).norm()).item<double>();

        Assert.That(LayerError.Relative(weight, pruned, statistics), Is.EqualTo(expected).Within(1e-12));
        Assert.That(LayerError.Relative(weight, zeros_like(weight), statistics), Is.EqualTo(1).Within(1e-12));
        Assert.That(LayerError.Relative(weight, weight, statistics), Is.Zero);
    }

    [Test]
    public void DiagonalTakesInputsAsUncorrelated()
    {
        using var scope = NewDisposeScope();
        using ActivationStatistics statistics = ActivationStatistics.FromDiagonal([4.0, 1.0], 10);
        Tensor weight = tensor(new double[] { 1, 2 }).reshape(1, 2);
        Tensor pruned = tensor(new double[] { 0, 2 }).reshape(1, 2);

        Assert.That(LayerError.Relative(weight, pruned, statistics), Is.EqualTo(Math.Sqrt(4.0 / 8.0)).Within(1e-12));
        Assert.That(() => LayerError.Relative(weight, zeros(1, 3), statistics), Throws.ArgumentException.With.Message.Contains("[1, 3]"));
    }
}
