using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Armor.Runtime.Generation;

/// <summary>A function of an element and its neighbour in another row, for a vector of each.</summary>
internal interface IElementFunction
{
    Vector<float> Apply(Vector<float> x, Vector<float> y);
}

/// <summary>Functions of single elements, in vectors of the machine's width; a row's last elements go through the same arithmetic as the others.</summary>
internal static class ElementFunctions
{
    private const float LogTwoHigh = 0.693359375f;
    private const float LogTwoLow = -2.12194440e-4f;

    // 1.5·2^23: added, it leaves a number below 2^22 rounded to an integer in the last bits.
    private const float Rounder = 12582912;

    /// <summary>x = f(x, y).</summary>
    /// <param name="function">f.</param>
    /// <param name="x">Changed.</param>
    /// <param name="y">As long as <paramref name="x"/>; may be <paramref name="x"/>.</param>
    public static void Map<TFunction>(TFunction function, Span<float> x, ReadOnlySpan<float> y)
        where TFunction : struct, IElementFunction
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(y.Length, x.Length, nameof(y));
        ref var xs = ref MemoryMarshal.GetReference(x);
        ref var ys = ref MemoryMarshal.GetReference(y);
        var i = 0;
        for (; i <= x.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            function.Apply(Vector.LoadUnsafe(ref xs, (nuint)i), Vector.LoadUnsafe(ref ys, (nuint)i)).StoreUnsafe(ref xs, (nuint)i);
        }

        if (i < x.Length)
        {
            Span<float> lanes = stackalloc float[2 * Vector<float>.Count];
            lanes.Clear();
            x[i..].CopyTo(lanes);
            y[i..x.Length].CopyTo(lanes[Vector<float>.Count..]);
            function.Apply(new Vector<float>(lanes), new Vector<float>(lanes[Vector<float>.Count..])).CopyTo(lanes);
            lanes[..(x.Length - i)].CopyTo(x[i..]);
        }
    }

    /// <summary>exp(x) with a relative error below 2e-7; 0 below −87, and above 88.3 what it is there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Exp(Vector<float> x)
    {
        var isZero = Vector.LessThan(x, new Vector<float>(-87));
        x = Vector.Min(Vector.Max(x, new Vector<float>(-87)), new Vector<float>(88.3f));
        var shifted = (x * new Vector<float>(1.44269504f)) + new Vector<float>(Rounder);
        var n = shifted - new Vector<float>(Rounder);
        var r = Vector.MultiplyAddEstimate(n, new Vector<float>(-LogTwoHigh), x);
        r = Vector.MultiplyAddEstimate(n, new Vector<float>(-LogTwoLow), r);

        // Taylor's series up to r^7; |r| is at most ln 2 / 2.
        var sum = Vector.MultiplyAddEstimate(r, new Vector<float>(1f / 5040), new Vector<float>(1f / 720));
        sum = Vector.MultiplyAddEstimate(sum, r, new Vector<float>(1f / 120));
        sum = Vector.MultiplyAddEstimate(sum, r, new Vector<float>(1f / 24));
        sum = Vector.MultiplyAddEstimate(sum, r, new Vector<float>(1f / 6));
        sum = Vector.MultiplyAddEstimate(sum, r, new Vector<float>(0.5f));
        sum = Vector.MultiplyAddEstimate(sum, r, Vector<float>.One);
        sum = Vector.MultiplyAddEstimate(sum, r, Vector<float>.One);
        var power = Vector.ShiftLeft(Vector.AsVectorInt32(shifted), 23) + new Vector<int>(127 << 23);
        return Vector.AndNot(sum * Vector.AsVectorSingle(power), Vector.AsVectorSingle(isZero));
    }

    /// <summary>exp(x − highest).</summary>
    public readonly struct ExpBelow(float highest) : IElementFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector<float> Apply(Vector<float> x, Vector<float> y) => Exp(x - new Vector<float>(highest));
    }

    /// <summary>silu(x)·y, with silu(x) = x / (1 + exp(−x)).</summary>
    public readonly struct GateBySilu : IElementFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector<float> Apply(Vector<float> x, Vector<float> y) => x / (Vector<float>.One + Exp(-x)) * y;
    }

    /// <summary>gelu(x)·y, with gelu(x) = x/2 · (1 + tanh u) = x / (1 + exp(−2u)), u = √(2/π)·(x + 0.044715·x³).</summary>
    public readonly struct GateByGelu : IElementFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector<float> Apply(Vector<float> x, Vector<float> y)
        {
            const float Root = 0.7978845608028654f;
            var u = Root * (x + (0.044715f * x * x * x));
            return x / (Vector<float>.One + Exp(-2f * u)) * y;
        }
    }

    /// <summary>cap·tanh(x / cap), with tanh(z) = 1 − 2 / (1 + exp(2z)): an error of up to 1e-7 of the cap.</summary>
    public readonly struct SoftCap(float cap) : IElementFunction
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Vector<float> Apply(Vector<float> x, Vector<float> y)
        {
            var two = new Vector<float>(2);
            return new Vector<float>(cap) * (Vector<float>.One - (two / (Vector<float>.One + Exp(x * (2 / cap)))));
        }
    }
}
