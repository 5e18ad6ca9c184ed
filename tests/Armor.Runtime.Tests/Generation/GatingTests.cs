using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu.Threads;
using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Generation;

public sealed class GatingTests
{
    [Test]
    public void ThreadsComputeWhatOneDoes([Values(1, 16383, 16384, 50021)] int count, [Values] ActivationFunction activation)
    {
        var random = new Random(count);
        float[] gate = [.. Enumerable.Range(0, count + 5).Select(_ => (random.NextSingle() * 20) - 10)];
        float[] up = [.. gate.Select(_ => random.NextSingle() - 0.5f)];
        float[] alone = [.. gate];
        float[] together = [.. gate];
        new Gating(null).Run(activation, alone, up, count);
        using (var threads = new KernelThreads(3, TimeSpan.FromMicroseconds(50)))
        {
            new Gating(threads).Run(activation, together, up, count);
        }

        Assert.That(together, Is.EqualTo(alone));
        Assert.That(together[count..], Is.EqualTo(gate[count..]), "nothing beyond");
        for (int i = 0; i < count; i += 97)
        {
            double x = gate[i];
            double expected = activation == ActivationFunction.GeluTanh
                ? 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x))))
                : x / (1 + Math.Exp(-x));
            Assert.That(alone[i], Is.EqualTo(expected * up[i]).Within(5e-6));
        }
    }
}
