using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Armor.Runtime.Generation.Sampling;

/// <summary>
/// Exponentials that are the same to the last bit on every machine: additions and multiplications only, each rounded by itself, whatever the width
/// of the vectors. The relative error is below 1e-15.
/// </summary>
internal static class ReproducibleExp
{
    // Beyond it, a probability is as good as zero.
    private const double Lowest = -700;

    // 1.5·2^52: added, it leaves a number below 2^51 rounded to an integer in the last bits.
    private const double Rounder = 6755399441055744;

    // ln 2 in two parts: the first has so few bits that its product with an exponent is exact (fdlibm).
    private const double LogTwoHigh = 6.93147180369123816490e-01;
    private const double LogTwoLow = 1.90821492927058770002e-10;

    /// <summary>weights[i] = exp((logits[i] − highest) / temperature); 0 where that is below 1e-304.</summary>
    /// <param name="logits">None above <paramref name="highest"/>.</param>
    /// <param name="highest">What gets the weight 1.</param>
    /// <param name="temperature">Above 0.</param>
    /// <param name="weights">As many as logits.</param>
    public static void Weights(ReadOnlySpan<float> logits, float highest, double temperature, Span<double> weights)
    {
        ref var source = ref MemoryMarshal.GetReference(logits);
        ref var target = ref MemoryMarshal.GetReference(weights[..logits.Length]);
        var start = 0;
        for (; start <= logits.Length - Vector512<double>.Count; start += Vector512<double>.Count)
        {
            var (lower, upper) = Vector256.Widen(Vector256.LoadUnsafe(ref source, (nuint)start));
            Compute((Vector512.Create(lower, upper) - Vector512.Create((double)highest)) / Vector512.Create(temperature)).StoreUnsafe(ref target, (nuint)start);
        }

        Span<double> lanes = stackalloc double[Vector512<double>.Count];
        lanes.Clear();
        for (var i = start; i < logits.Length; i++)
        {
            lanes[i - start] = ((double)logits[i] - highest) / temperature;
        }

        Compute(Vector512.Create<double>(lanes)).CopyTo(lanes);
        lanes[..(logits.Length - start)].CopyTo(weights[start..]);
    }

    /// <summary>exp(x) for x of at most 0.</summary>
    internal static Vector512<double> Compute(Vector512<double> x)
    {
        var isZero = Vector512.LessThan(x, Vector512.Create(Lowest));
        x = Vector512.ConditionalSelect(isZero, Vector512<double>.Zero, x);
        var shifted = (x * Vector512.Create(1.4426950408889634)) + Vector512.Create(Rounder);
        var n = shifted - Vector512.Create(Rounder);
        var r = x - (n * Vector512.Create(LogTwoHigh)) - (n * Vector512.Create(LogTwoLow));

        // Taylor's series up to r^13; |r| is at most ln 2 / 2.
        var sum = Vector512.Create(1.0 / 6227020800);
        sum = (sum * r) + Vector512.Create(1.0 / 479001600);
        sum = (sum * r) + Vector512.Create(1.0 / 39916800);
        sum = (sum * r) + Vector512.Create(1.0 / 3628800);
        sum = (sum * r) + Vector512.Create(1.0 / 362880);
        sum = (sum * r) + Vector512.Create(1.0 / 40320);
        sum = (sum * r) + Vector512.Create(1.0 / 5040);
        sum = (sum * r) + Vector512.Create(1.0 / 720);
        sum = (sum * r) + Vector512.Create(1.0 / 120);
        sum = (sum * r) + Vector512.Create(1.0 / 24);
        sum = (sum * r) + Vector512.Create(1.0 / 6);
        sum = (sum * r) + Vector512.Create(0.5);
        sum = (sum * r) + Vector512<double>.One;
        sum = (sum * r) + Vector512<double>.One;
        var power = Vector512.ShiftLeft(shifted.AsInt64() + Vector512.Create(1023L), 52).AsDouble();
        return Vector512.AndNot(sum * power, isZero);
    }
}
