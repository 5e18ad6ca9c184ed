using System.Numerics;
using System.Runtime.InteropServices;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>The dot product of two dense rows, in vectors of the machine's width.</summary>
internal static class DotProduct
{
    public static float Compute(ReadOnlySpan<float> left, ReadOnlySpan<float> right)
    {
        var a = MemoryMarshal.Cast<float, Vector<float>>(left);
        var b = MemoryMarshal.Cast<float, Vector<float>>(right)[..a.Length];
        Vector<float> sum0 = default, sum1 = default, sum2 = default, sum3 = default;
        var i = 0;
        for (; i <= a.Length - 4; i += 4)
        {
            sum0 = Vector.MultiplyAddEstimate(a[i], b[i], sum0);
            sum1 = Vector.MultiplyAddEstimate(a[i + 1], b[i + 1], sum1);
            sum2 = Vector.MultiplyAddEstimate(a[i + 2], b[i + 2], sum2);
            sum3 = Vector.MultiplyAddEstimate(a[i + 3], b[i + 3], sum3);
        }

        for (; i < a.Length; i++)
        {
            sum0 = Vector.MultiplyAddEstimate(a[i], b[i], sum0);
        }

        var sum = Vector.Sum((sum0 + sum1) + (sum2 + sum3));
        for (i *= Vector<float>.Count; i < left.Length; i++)
        {
            sum += left[i] * right[i];
        }

        return sum;
    }
}
