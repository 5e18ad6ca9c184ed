using Armor.KernelConformance;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Kernels;

public class SparseDotProductTests
{
    [Test]
    public void EveryVectorWidthPicksTheSameValues([Range(4, 68, 4)] int columns)
    {
        // Small integers: every order of summation is exact.
        var random = new Random(columns);
        var core = Generators.RandomCore(1, columns, random);
        var values = Enumerable.Range(0, columns / 2).Select(_ => (float)random.Next(-8, 9)).ToArray();
        var input = Enumerable.Range(0, columns).Select(_ => (float)random.Next(-8, 9)).ToArray();
        var expected = SparseDotProduct.ComputeScalar(values, core.Mask.Span, input, 0, 0);
        Assert.That(SparseDotProduct.ComputeAny256(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.ComputeFours256(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.ComputeTwoFour128(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.Compute(core.Pattern, values, core.Mask.Span, input), Is.EqualTo(expected));
    }
}
