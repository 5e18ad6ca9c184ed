using Armor.Core.Pruning.Wrappers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.Wrappers;

[NonParallelizable]
public sealed class SmallSystemsTests
{
    private int threads;

    // The fault that the class works around shows on several threads only.
    [SetUp]
    public void UseThreads()
    {
        threads = get_num_threads();
        set_num_threads(4);
    }

    [TearDown]
    public void RestoreThreads() => set_num_threads(threads);

    [TestCase(1, 3)]
    [TestCase(7, 128)]
    [TestCase(5, 129)]
    [TestCase(6, 160)]
    [TestCase(8, 256)]
    [TestCase(3, 300)]
    public void Solutions_and_inverses_are_right_at_every_size(int count, int size)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        Tensor x = randn([count, size, 2 * size], float64, generator: generator);
        Tensor systems = x.matmul(x.transpose(1, 2)).Times(1.0 / size);
        Tensor right = randn([count, size, 5], float64, generator: generator);
        Assert.That((systems.matmul(SmallSystems.Solve(systems, right)) - right).abs().max().item<double>(), Is.LessThan(1e-9));
        Assert.That((systems.matmul(SmallSystems.Inverse(systems)) - eye(size, dtype: float64)).abs().max().item<double>(), Is.LessThan(1e-9));
    }
}
