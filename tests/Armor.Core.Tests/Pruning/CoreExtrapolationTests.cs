using Armor.Core.Pruning;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

[TestFixture]
public sealed class CoreExtrapolationTests
{
    [TestCase(1, 4, 1)]
    [TestCase(3, 20, 2)]
    [TestCase(700, 516, 3)]
    public void Only_values_that_both_cores_keep_go_further(int rows, int columns, int threads)
    {
        using var scope = NewDisposeScope();
        var random = new Random(1);
        float[] x = [.. Enumerable.Range(0, rows * columns).Select(_ => random.Next(2) * random.NextSingle())];
        float[] previous = [.. x.Select(value => random.Next(2) * (value + random.NextSingle()))];
        Tensor found = CoreExtrapolation.Of(tensor(x).view(rows, columns), tensor(previous).view(rows, columns), 0.75, threads);
        float[] values = found.data<float>().ToArray();
        Assert.That(found.shape, Is.EqualTo((long[])[rows, columns]));
        for (int i = 0; i < x.Length; i++)
        {
            double expected = x[i] == 0 || previous[i] == 0 ? x[i] : x[i] + (0.75 * ((double)x[i] - previous[i]));
            Assert.That(values[i], Is.EqualTo(expected).Within(1e-6));
        }
    }
}
